"""Images of one patient, or copies of an image, in two splits: prevented, refused or reported by every protocol.

Listings are split without images. The other tests run the real data stage.
"""

import shutil

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from PIL import Image

from medtune.config.errors import InputError
from medtune.data import dataset_report, duplicates, split_protocols, splits
from medtune.data.sources import breakhis
from medtune.data.sources.synthetic import TISSUES, draw
from tests.robustness.faults import Faults
from tests.robustness.leaks.image_set import BREAKHIS, MISLABELED, ImageSet, random_images
from tests.robustness.leaks.listings import earlier_folds, folds_by_image, listing_problem, random_listing
from tests.robustness.profile import examples, is_full, scale

pytestmark = [
    pytest.mark.faults(
        row=7,
        title="a patient or a copy of an image is in two splits",
        target="With protocol `patient`, no patient is in two splits, and exact copies in two splits are refused. "
        "All other cases are reported",
    ),
    pytest.mark.xdist_group("leaks"),
]
SEEDS = st.integers(0, 2**32 - 1)
MAX_REFUSED = 0.1
UNSPLITTABLE = "number of lists of images that cannot be split"
REFUSED = "number of exact copies refused"
REPORTED = "number of exact copies reported (in one split, or with protocol `image`)"
HASH_DISTANCE = "greatest Hamming distance between the perceptual hashes of near copies, in bits"
# The same pixels in other files.
EXACT_COPIES = {
    "copy.png": lambda image, path: image.save(path, compress_level=1),
    "copy.bmp": lambda image, path: image.save(path),
    "copy.tif": lambda image, path: image.save(path, compression="tiff_lzw"),
    "copy.webp": lambda image, path: image.save(path, lossless=True),
    "opaque.png": lambda image, path: image.convert("RGBA").save(path),
    "rotated.png": lambda image, path: save_rotated(image, path),
}
NEAR_COPIES = {
    "quality-95.jpg": lambda image, path: image.save(path, quality=95),
    "quality-75.jpg": lambda image, path: image.save(path, quality=75),
    "quality-50.jpg": lambda image, path: image.save(path, quality=50),
    "brighter.png": lambda image, path: image.point(lambda value: round(value * 1.05)).save(path),
    "darker.png": lambda image, path: image.point(lambda value: round(value * 0.95)).save(path),
    "one-level-brighter.png": lambda image, path: image.point(lambda value: value + 1).save(path),
    "smaller.png": lambda image, path: image.resize((58, 58)).save(path),
    "larger.png": lambda image, path: image.resize((128, 128)).save(path),
}


@pytest.fixture
def new_set(tmp_path_factory, capsys):
    """Return a function that creates an empty set of images."""
    return lambda: ImageSet(tmp_path_factory.mktemp("set"), capsys)


@pytest.mark.parametrize("protocol", ["patient", "image", "official", "hcrf-1-1-2"])
def test_leaks__of_a_listing_are_prevented_or_reported(faults, tmp_path, protocol):
    split_listings(faults, tmp_path, protocol)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", scale(["patient"], ["patient", "image", "hcrf-1-1-2"]))
@examples(small=1, full=20)
@given(seed=SEEDS)
def test_leaks__of_patients_are_reported_by_the_data_stage(faults, new_set, protocol, seed):
    prepare_patients(faults, new_set(), protocol, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", scale(list(EXACT_COPIES)[:3], list(EXACT_COPIES)))
@examples(small=1, full=20)
@given(protocol=st.sampled_from(["patient", "patient", "image"]), seed=SEEDS)
def test_leaks__exact_copies_are_refused_or_reported(faults, new_set, name, protocol, seed):
    prepare_exact_copy(faults, new_set(), name, protocol, seed)


@pytest.mark.slow
@examples(small=1, full=30)
@given(seed=SEEDS)
def test_leaks__near_copies_are_reported(faults, new_set, seed):
    prepare_near_copies(faults, new_set(), seed)


@pytest.mark.slow
@pytest.mark.parametrize("labels", scale(["binary"], ["binary", "malignant4", "subtypes8"]))
@pytest.mark.parametrize(
    ("protocol", "magnification"),
    scale([("patient", 200)], [("patient", 200), ("image", 200), ("official", 200), ("patient", None)]),
)
def test_leaks__patient_with_two_labels_is_flagged(faults, new_set, labels, protocol, magnification):
    prepare_breakhis(faults, new_set(), labels, protocol, magnification)


@pytest.mark.skipif(not is_full(), reason="only in make torture")
@pytest.mark.parametrize(("copy", "protocol"), [(None, "patient"), (".bmp", "patient"), (".jpg", "image")])
def test_leaks__of_real_images_are_noticed(faults, new_set, request, copy, protocol):
    try:
        shared = request.getfixturevalue("shared") / "breakhis200x"
    except pytest.skip.Exception as reason:
        faults.not_tried.append(str(reason))
        return
    image_set, images = new_set(), {path.name: path for path in sorted(shared.rglob("SOB_*.png"))}
    ductal = [name for name in images if name.startswith("SOB_M_DC")]
    original, name = ductal[0], f"{ductal[-1].rpartition('-')[0]}-900{copy}"
    if copy:
        Image.open(images[original]).save(image_set.root / name, quality=85)
    else:
        for number in range(2):
            path = images.pop(ductal[number])
            images |= {f"SOB_M_{subtype}-14-{MISLABELED}-200-{number:03}.png": path for subtype in ("DC", "LC")}
    for image, path in images.items():
        shutil.copyfile(path, image_set.root / image)
    problem = image_set.prepare(protocol, BREAKHIS, labels="binary", image_size=64)
    if copy == ".bmp":
        is_refused = image_set.code == 2 and original in image_set.error and name in image_set.error
        problem = None if is_refused else problem or "the copy was accepted"
    elif copy == ".jpg":
        problem = problem or image_set.leak_problem(protocol)
        if not problem and {original, name} not in map(set, image_set.near_copies):
            problem = "not in report.json"
    else:
        problem = problem or image_set.breakhis_problem("binary", protocol)
    faults.count(f"real images, {copy or MISLABELED}, {protocol}", problem)


def test_leaks__a_patient_in_two_splits_is_noticed(monkeypatch, tmp_path, new_set):
    monkeypatch.setattr(split_protocols, "grouped_stratified_folds", folds_by_image)
    split_listings(listings := Faults(), tmp_path, "patient")
    assert len(listings.lost) == listings.injected
    prepare_patients(faults := Faults(), new_set(), "patient", seed=0)
    assert "patients are in two splits" in faults.lost[0]


def test_leaks__a_patient_that_changes_the_fold_is_noticed(monkeypatch, tmp_path):
    correct = split_protocols.grouped_stratified_folds
    monkeypatch.setattr(split_protocols, "grouped_stratified_folds", lambda *args: correct(*args[:3]))
    split_listings(faults := Faults(), tmp_path, "patient", small=20)
    assert any("changed the fold" in line for line in faults.lost)


@pytest.mark.parametrize("protocol", ["image", "official"])
def test_leaks__an_unreported_leak_is_noticed(monkeypatch, tmp_path, protocol):
    monkeypatch.setattr(splits, "_leaked_patients", lambda *_: ())
    split_listings(faults := Faults(), tmp_path, protocol)
    assert "0 patients are reported as leaked" in faults.lost[0]


def test_leaks__an_accepted_copy_is_noticed(monkeypatch, new_set):
    monkeypatch.setattr(dataset_report, "_reject_duplicates", lambda *_: None)
    prepare_exact_copy(faults := Faults(), new_set(), "copy.png", "patient", seed=0)
    assert "in another split without an error" in faults.lost[0]


def test_leaks__an_unreported_near_copy_is_noticed(monkeypatch, new_set):
    monkeypatch.setattr(duplicates, "NEAR_BITS", -1)
    prepare_near_copies(faults := Faults(), new_set(), seed=0)
    assert "not in report.json" in faults.lost[0]


def test_leaks__an_unreported_issue_of_breakhis_is_noticed(monkeypatch, new_set):
    monkeypatch.setattr(breakhis, "KNOWN_ISSUES", ())
    prepare_breakhis(faults := Faults(), new_set(), "binary", "patient", 200)
    assert "dataset.json does not name it" in faults.lost[0]


def split_listings(faults, folder, protocol, small=5):
    """Split random listings. Those that the protocol cannot split are replaced."""

    @examples(small=small, full=300)
    @given(seed=SEEDS)
    def split_listing(seed):
        random = np.random.default_rng(seed)
        samples, classes, params = random_listing(protocol, random)
        assigned = None
        try:
            if protocol == "patient":
                assigned = earlier_folds(folder / f"folds-{seed}.csv", samples, classes, params, random)
            result = splits.split_samples(samples, classes, params, "torture", assigned)
        except InputError:  # a split without images, or with a single class
            faults.measure(UNSPLITTABLE, 1)
            reject()
        faults.count(f"{protocol}, listing {seed}", listing_problem(samples, params, result, assigned))

    split_listing()
    n_refused = faults.measured.get(UNSPLITTABLE, 0)
    assert n_refused <= 2 + MAX_REFUSED * faults.injected, f"{n_refused} listings refused"


def prepare_patients(faults, image_set, protocol, seed):
    """Prepare several images per patient. Some patients may have both classes."""
    random = np.random.default_rng(seed)
    image_set.draw(int(random.integers(8, 15)), int(random.integers(2, 5)), seed)
    for n in range(0, len(image_set.listed), 5) if random.random() < 0.5 else ():
        name, _, patient = image_set.listed[n]
        image_set.listed[n] = (name, "yes", patient)
    problem = image_set.prepare(protocol, **{"split.folds": 4}) or image_set.leak_problem(protocol)
    faults.count(f"data stage {seed}, {protocol}", problem)


def prepare_exact_copy(faults, image_set, name, protocol, seed):
    """Prepare images, and a copy of one of them in another file of another patient."""
    random = np.random.default_rng(seed)
    image_set.draw(patients=9, each=3, seed=seed)
    original, label, patient = image_set.listed[random.integers(27)]
    copy_label, copy_patient = str(random.choice(["no", "yes"])), f"P{(int(patient[1:]) + random.integers(1, 9)) % 9}"
    EXACT_COPIES[name](Image.open(image_set.root / original), image_set.root / name)
    image_set.listed.append((name, copy_label, copy_patient))
    problem = image_set.prepare(protocol)
    if image_set.code == 2 and protocol == "patient":
        expected = "error: identical images belong to different patients, who are in different splits: "
        is_named = f"{original} = {name}" in image_set.error
        is_clear = image_set.error.startswith(expected) and is_named and "\n" not in image_set.error
        remaining = [path.name for path in image_set.out.glob("data/*")]
        problem = f"{remaining} remain" if remaining else None if is_clear else image_set.error
    elif not problem:
        separated = image_set.is_separated(original, name)
        exact = {
            "sets": 1,
            "images": 2,
            "across_splits": int(separated),
            "with_different_labels": int(label != copy_label),
            "first": [{"paths": sorted([original, name]), "across_splits": separated}],
        }
        if separated and protocol == "patient":
            problem = "the copy is in another split without an error"
        elif exact != image_set.report["duplicates"]["exact"]:
            problem = f"report.json has {image_set.report['duplicates']['exact']}, expected {exact}"
    faults.measure(REFUSED if image_set.code else REPORTED, 1)
    faults.count(f"{name} of {original} of {patient} for {copy_patient}, {protocol}, {seed}", problem)


def prepare_near_copies(faults, image_set, seed):
    """Prepare images, and copies of other patients that differ slightly."""
    pairs = {}
    for n in range(16):
        image_set.add(f"{n:03}.png", Image.fromarray(draw(TISSUES[n % 4], n, seed, 64, 1.0, 1)), n)
    for n, (name, save) in enumerate(NEAR_COPIES.items()):
        original, label, _ = image_set.listed[n]
        save(Image.open(image_set.root / original), image_set.root / name)
        image_set.listed.append((name, label, f"P{n + 5}"))
        pairs[original, name] = name
    failure = image_set.prepare("patient", image_size=64, **{"split.folds": 4})
    near = {} if failure else image_set.near_copies
    for pair, name in pairs.items():
        problem = failure or (None if pair in near else "not in report.json")
        if not problem:
            faults.measure(HASH_DISTANCE, near[pair]["bits"])
            if near[pair]["across_splits"] != image_set.is_separated(*pair):
                problem = f"across_splits is {near[pair]['across_splits']}"
        faults.count(f"{name} of image {seed}", problem)
    faults.measure("number of reported pairs that are not copies", len(near.keys() - pairs.keys()))


def prepare_breakhis(faults, image_set, labels, protocol, magnification):
    """Prepare images with names of BreakHis, two per patient. Patient 13412 has them in two classes."""
    slides = []
    for number, code in enumerate(breakhis.SUBTYPES, 1):
        kind = "M" if code in breakhis.MALIGNANT else "B"
        slides += [[f"SOB_{kind}_{code}-14-{1000 * number + patient}"] for patient in range(6)]
    slides.append([f"SOB_M_{code}-14-{MISLABELED}" for code in ("DC", "LC")])
    names = []
    for n, image in enumerate(random_images(2 * len(slides), seed=0)):
        for slide in slides[n // 2]:
            names.append(f"{slide}-200-{n % 2 + 1:03}.png")
            image.save(image_set.root / names[-1])
    for fold in range(5) if protocol == "official" else ():
        rows = [f"{name}|200|{fold + 1}|{'test' if int(name.split('-')[2]) % 5 == fold else 'train'}" for name in names]
        (image_set.root / f"dsfold{fold + 1}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    sets = {"labels": labels, "magnification": magnification, "split.folds": 5}
    problem = image_set.prepare(protocol, BREAKHIS, **sets) or image_set.breakhis_problem(labels, protocol)
    faults.count(f"{MISLABELED}, {labels}, {protocol}, magnification {magnification}", problem)


def save_rotated(image, path):
    """Save the image on its side, with the metadata to display it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
