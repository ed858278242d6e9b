import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image

from medtune.config.errors import InputError
from medtune.data.sources import breakhis
from medtune.data.splits import split_samples

SLIDES = {
    "ductal_carcinoma": [f"SOB_M_DC-14-{n}" for n in (2523, 2773, 2980, 5287, 5694, 13412)],
    "lobular_carcinoma": [f"SOB_M_LC-14-{n}" for n in (12204, 13412, 15570, 15570, 16196)],
    "mucinous_carcinoma": [f"SOB_M_MC-14-{n}" for n in (10147, "13418DE", 16456, 18842, "18842D")],
    "papillary_carcinoma": [f"SOB_M_PC-14-{n}" for n in (12465, 15687, "15687B", "15704", 19440)],
    "adenosis": [f"SOB_B_A-14-{n}" for n in ("22549AB", "22549CD", "22549G", "29960AB", "29960CD")],
}


def draw_tree(folder, magnifications=(200,), images_per_slide=2):
    """Write a small official folder tree and return the names of the images."""
    names = []
    for subtype, slides in SLIDES.items():
        kind = "benign" if subtype == "adenosis" else "malignant"
        for slide in dict.fromkeys(slides):
            for magnification in magnifications:
                folder_of_slide = (
                    folder / f"BreaKHis_v1/histology_slides/breast/{kind}/SOB/{subtype}/{slide}/{magnification}X"
                )
                folder_of_slide.mkdir(parents=True, exist_ok=True)
                for number in range(1, images_per_slide + 1):
                    name = f"{slide}-{magnification}-{number:03d}.png"
                    # The data set contains the images of patient 13412 under both labels.
                    seed = zlib.crc32(f"{slide.partition('-')[2]} {magnification} {number}".encode())
                    pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
                    Image.fromarray(pixels).save(folder_of_slide / name)
                    names.append(name)
    return names


def write_folds(folder, names, magnification=200):
    for fold in range(1, 6):
        lines = []
        for name in names:
            case = int("".join(filter(str.isdigit, name.split("-")[2])))
            lines.append(f"{name}|{magnification}|{fold}|{'test' if case % 5 == fold - 1 else 'train'}")
        (folder / f"dsfold{fold}.txt").write_text("\n".join(lines) + "\n")


def params(**options):
    return breakhis.Params(root="x", **options)


def test_samples__have_patients_and_metadata(tmp_path):
    draw_tree(tmp_path)
    samples = {sample.path.rpartition("/")[2]: sample for sample in breakhis.list_samples(tmp_path, params())}
    assert (
        samples["SOB_B_A-14-22549AB-200-001.png"].patient_id
        == samples["SOB_B_A-14-22549CD-200-001.png"].patient_id
        == "22549"
    )
    assert samples["SOB_M_DC-14-13412-200-001.png"].patient_id == samples["SOB_M_LC-14-13412-200-001.png"].patient_id
    sample = samples["SOB_M_MC-14-13418DE-200-002.png"]
    assert sample.label == "malignant"
    assert sample.metadata == {"code": "MC", "slide": "13418DE", "year": "14", "magnification": "200"}


@pytest.mark.parametrize(("task", "count"), [("malignant4", 4), ("binary", 2), ("subtypes8", 8)])
def test_samples__have_the_labels_of_the_task(tmp_path, task, count):
    draw_tree(tmp_path)
    options = params(labels=task)
    assert len(breakhis.classes(options)) == count
    labels = {sample.label for sample in breakhis.list_samples(tmp_path, options)}
    assert labels <= set(breakhis.classes(options))
    assert ("adenosis" in labels) == (task == "subtypes8")


def test_samples__are_selected_by_magnification(tmp_path):
    names = draw_tree(tmp_path, (40, 400), images_per_slide=1)
    assert len(breakhis.list_samples(tmp_path, params(magnification=None))) == len(names)
    assert len(breakhis.list_samples(tmp_path, params(magnification=40))) == len(names) / 2
    with pytest.raises(InputError, match=r"no BreakHis image with data\.labels=binary at magnification 200"):
        breakhis.list_samples(tmp_path, params())


def test_samples__any_layout_without_other_files(tmp_path):
    for name in ("x/SOB_M_DC-14-1-200-001.png", "SOB_B_F-14-2-200-001.png", "SOB_B_DC-14-3-200-001.png", "cat.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [sample.patient_id for sample in breakhis.list_samples(tmp_path, params())] == ["2", "1"]


def test_samples__same_image_in_two_folders_is_an_error(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "SOB_M_DC-14-1-200-001.png").touch()
    with pytest.raises(InputError, match="duplicate image"):
        breakhis.list_samples(tmp_path, params())


@pytest.mark.parametrize("by_folder", [True, False])
def test_samples__are_read_from_the_archive(tmp_path, monkeypatch, by_folder):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    names = draw_tree(tmp_path / "tree")
    (tmp_path / "raw").mkdir()
    archive = tmp_path / "raw" / breakhis.ARCHIVE
    with tarfile.open(archive, "w:gz") as bundle:
        bundle.add(tmp_path / "tree" / "BreaKHis_v1", "BreaKHis_v1")
    samples = breakhis.list_samples(archive.parent if by_folder else archive, params())
    assert len(samples) == len(names)
    assert all(sample.file.is_file() for sample in samples)
    write_folds(archive.parent, names)
    if by_folder:
        options = params(split={"protocol": "official"})
        assert len(breakhis.list_samples(archive.parent, options)[0].published_splits) == 5
        breakhis.fetch(archive, options)


def test_samples__official_folds_exclude_patient_13412(tmp_path):
    write_folds(tmp_path, draw_tree(tmp_path))
    options = params(split={"protocol": "official", "test_fold": "all", "allow_missing_classes": True})
    samples = breakhis.list_samples(tmp_path, options)
    ambiguous = [sample for sample in samples if sample.patient_id == "13412"]
    assert len(ambiguous) == 4
    assert {role for sample in ambiguous for role in sample.published_splits} == {"unused"}
    assert samples[0].published_splits[int(samples[0].patient_id) % 5] == "test"
    assert len(breakhis.inputs(tmp_path, options)) == 5
    assignment = split_samples(samples, breakhis.classes(options), options.split, "breakhis")
    assert assignment.leaked_patients == ()
    assert any("no validation split" in note for note in assignment.notes)
    assert any(note.startswith("4 images are in none") for note in assignment.notes)


def test_samples__official_protocol_needs_valid_fold_files(tmp_path):
    names = draw_tree(tmp_path)
    options = params(split={"protocol": "official"})
    with pytest.raises(InputError, match=r"dsfold1\.txt, .*dsfold5\.txt not found"):
        breakhis.list_samples(tmp_path, options)
    write_folds(tmp_path, names)
    (tmp_path / "dsfold3.txt").write_text("one|two\n")
    with pytest.raises(InputError, match=r"dsfold3\.txt line 1"):
        breakhis.list_samples(tmp_path, options)


def test_fetch__interrupted_download_is_resumed_and_unpacked(tmp_path, monkeypatch, server):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    names = draw_tree(tmp_path / "tree")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as bundle:
        bundle.add(tmp_path / "tree" / "BreaKHis_v1", "BreaKHis_v1")
    server.content, server.interrupted_at = (tmp_path / "all.tar.gz").read_bytes(), [900, 900]
    options = params(download=True, url=server.url)
    root = tmp_path / "raw"
    breakhis.fetch(root, options)
    assert server.range_headers == [None, "bytes=900-", "bytes=1800-"]
    assert len(breakhis.list_samples(root, options)) == len(names)
    breakhis.fetch(root, options)
    breakhis.fetch(tmp_path / "tree", options)
    assert len(server.range_headers) == 3


def test_expected__matches_the_published_counts():
    assert breakhis.expected(params(magnification=200)) == {"benign": 623, "malignant": 1390}
    assert breakhis.expected(params(magnification=40)) == {"benign": 625, "malignant": 1370}
    assert sum(breakhis.expected(params(magnification=None, labels="subtypes8")).values()) == 7909
    assert sum(breakhis.expected(params(labels="malignant4", magnification=100)).values()) == 1437


@pytest.mark.real
def test_samples__real_subset(shared):
    samples = breakhis.list_samples(shared / "breakhis200x", params())
    assert len(samples) == 305
    assert len({sample.patient_id for sample in samples}) == 31
