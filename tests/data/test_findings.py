import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data import findings
from medtune.data.folds import grouped_stratified_folds
from medtune.data.sample import Sample
from medtune.data.splits import split_samples

NAMES = ("mass", "edema", "hernia")


def sample(number: int, *names: str, patient: str | None = None) -> Sample:
    return Sample(f"{number}.png", "", patient, findings=names)


def random_samples(
    count: int = 60, images_per_patient: int = 2, rates: tuple[float, ...] = (0.5, 0.3, 0.15), known: bool = True
) -> list[Sample]:
    present = np.random.default_rng(4).random((count, 3)) < rates
    return [
        sample(
            index,
            *(name for name, is_present in zip(NAMES, row, strict=True) if is_present),
            patient=f"P{index // images_per_patient}" * known,
        )
        for index, row in enumerate(present)
    ]


def test_add_targets__vector_and_label_have_the_order_of_the_findings():
    positive, negative = findings.add_targets([sample(0, "edema", "mass"), sample(1)], NAMES, "healthy")
    assert (positive.label, positive.findings, positive.target().tolist()) == (
        "mass|edema",
        ("mass", "edema"),
        [1, 1, 0],
    )
    assert (negative.label, negative.target().tolist(), negative.target().dtype) == ("healthy", [0, 0, 0], np.uint8)


def test_encode_labels__encodes_findings_and_classes():
    assert findings.encode_labels([sample(0, "hernia", "mass"), sample(1)], NAMES).tolist() == [
        [True, False, True, False],
        [False, False, False, True],
    ]
    assert findings.encode_labels([Sample("a", "edema"), Sample("b", "mass")], NAMES).tolist() == [1, 0]


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=30))
def test_rarest_finding__is_a_finding_of_the_image(rows):
    targets = np.array(rows)
    counts = targets.sum(0)
    for row, index in zip(targets, findings.rarest_finding(targets), strict=True):
        if not row.any():
            assert index == 4
        else:
            assert row[index]
            assert counts[index] == counts[row].min()


def test_rename_labels__merges_two_findings():
    assert findings.rename_labels(sample(0, "a", "b", "c"), {"a": "x", "c": "x"}).findings == ("x", "b")
    assert findings.rename_labels(Sample("0", "a"), {"a": "x"}).label == "x"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("mass", "lump|edema"), r"'lump\|edema' contains \|"),
        (("mass", "no finding"), "'no finding' is the label of images without findings"),
    ],
)
def test_check_names__rejects_invalid_names(names, message):
    with pytest.raises(InputError, match=message):
        findings.check_names(names, "No Finding")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("mass", "edema", "hernia"), "no image has the finding hernia"),
        (("mass", "edema"), "every image has the finding edema"),
    ],
)
def test_split__rejects_findings_without_positive_or_negative_images(names, message):
    samples = [sample(k, *("mass", "edema")[k % 2 :], patient=f"P{k}") for k in range(12)]
    with pytest.raises(InputError, match=message):
        split_samples(samples, names, SplitParams(), "folder", min_classes=1)


@given(st.integers(3, 5), st.integers(0, 2**32 - 1), st.floats(0.1, 0.6))
def test_folds__of_findings_keep_patients_together_and_balance_findings(folds, seed, rate):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(60), 2)
    labels = rng.random((120, 4)) < [rate, 0.5, 0.1, 0.02]
    fold_of_image = grouped_stratified_folds(labels, patients, folds)
    for patient in range(60):
        assert len(set(fold_of_image[patients == patient])) == 1
    assert np.array_equal(fold_of_image, grouped_stratified_folds(labels, patients, folds))
    for k in range(2):
        counts = np.bincount(fold_of_image[labels[:, k]], minlength=folds)
        assert counts.max() - counts.min() <= max(6, 0.5 * counts.mean())


def test_folds__are_equal_for_classes_and_one_hot_findings():
    rng = np.random.default_rng(0)
    labels, patients = rng.integers(0, 3, 90), np.repeat(np.arange(30), 3)
    one_hot = np.eye(3, dtype=bool)[labels]
    assert np.array_equal(grouped_stratified_folds(labels, patients, 5), grouped_stratified_folds(one_hot, patients, 5))


@pytest.mark.parametrize("protocol", ["patient", "image"])
def test_split__findings_are_in_every_split(protocol):
    samples = random_samples()
    assignment = split_samples(samples, NAMES, SplitParams(protocol=protocol), "folder", min_classes=1)
    labels = findings.encode_labels(samples, NAMES)[:, :3]
    for split in ("train", "val", "test"):
        assert labels[assignment.splits[:, 1] == split].any(0).all()
    assert bool(assignment.leaked_patients) == (protocol == "image")


def test_split__finding_absent_from_a_split_is_an_error_or_a_note():
    samples = [*random_samples(), sample(90, "rare", patient="P90"), sample(91, "rare", patient="P90")]
    names = (*NAMES, "rare")
    with pytest.raises(
        InputError, match=r"Finding rare \(1 patient, 2 images\) is absent from .*allow_missing_classes=true"
    ):
        split_samples(samples, names, SplitParams(), "folder", min_classes=1)
    assignment = split_samples(samples, names, SplitParams(allow_missing_classes=True), "folder", min_classes=1)
    assert "Finding rare (1 patient, 2 images) is absent from" in assignment.notes[0]


def test_split__train_without_findings_is_an_error():
    samples = [Sample(f"{k}", "", None, findings=("mass",) * (k > 4), published_splits=(split,))
               for k, split in enumerate(["train"] * 5 + ["val", "test"])]  # fmt: skip
    params = SplitParams(protocol="official", test_fold=0, allow_missing_classes=True)
    with pytest.raises(InputError, match="the train split has no image with a finding"):
        split_samples(samples, ("mass",), params, "medmnist", min_classes=1)


def test_split__validation_is_taken_from_published_train():
    samples = [
        Sample(
            f"{k}", "", None, findings=("mass",) * (k % 3 == 0) + ("edema",) * (k % 4 == 0), published_splits=(split,)
        )
        for k, split in enumerate(["train"] * 40 + ["test"] * 12)
    ]
    params = SplitParams(protocol="official", test_fold=0)
    assignment = split_samples(samples, ("mass", "edema"), params, "medmnist", min_classes=1)
    held_out = findings.encode_labels(samples, ("mass", "edema"))[assignment.splits[:, 0] == "val"]
    assert len(held_out) == 8
    assert held_out[:, :2].any(0).all()


def test_display_groups__are_the_rarest_findings():
    names, indices = findings.display_groups(findings.add_targets([sample(0, "mass"), sample(1)], NAMES, "none"), NAMES)
    assert (names, indices.tolist()) == (("mass", "none"), [0, 1])
