import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.data.split_column import ALIASES, SPLITS, find_split_column, read_splits
from medtune.data.splits import split_samples
from medtune.data.table import Table

COLUMN = SplitParams(protocol="column", allow_missing_classes=True)


def table(*cells: str, name: str = "Split") -> Table:
    return Table("t.csv", "line", ("path", name), tuple((n + 2, (f"{n}.png", cell)) for n, cell in enumerate(cells)))


def test_find_split_column__by_default_name_in_any_case_or_by_option():
    assert find_split_column(table("train"), None) == 1
    assert find_split_column(table("train", name="part"), "PART") == 1
    with pytest.raises(InputError, match=r"has no column split; found path, part. .*data.columns.split=NAME"):
        find_split_column(table("train", name="part"), None)


def test_read_splits__ignores_case():
    assert read_splits(table("Train", " VAL ", "test", "External"), 1) == ["train", "val", "test", "external"]


def test_read_splits__counts_other_values_and_suggests_replacements():
    with pytest.raises(InputError) as error:
        read_splits(table("train", "validation", "Validation", "validation", "3", ""), 1)
    assert str(error.value) == (
        "t.csv: column Split has 'validation' in 2 rows, '' in 1 row, '3' in 1 row, 'Validation' in 1 row; expected "
        "train, val, test or external. Write val for 'validation'; write val for 'Validation'"
    )


@given(st.lists(st.one_of(st.sampled_from([*SPLITS, *(a for names in ALIASES.values() for a in names)]), st.text())))
def test_read_splits__accepts_only_the_four_values(cells):
    if all(" ".join(cell.split()).casefold() in SPLITS for cell in cells):
        assert set(read_splits(table(*cells), 1)) <= set(SPLITS)
    else:
        with pytest.raises(InputError, match="expected train, val, test or external"):
            read_splits(table(*cells), 1)


PATIENTS = st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(1, 3)), min_size=8, max_size=25)


def samples(patients, known=True) -> list[Sample]:
    """Create the images of patients with (split, number of images); classes alternate."""
    forced = [("train", 2)] * 6 + [("test", 2)] * 2
    return [
        Sample(f"{p:02d}-{n}", "ab"[(p + n) % 2], f"P{p}" if known else None, published_splits=(split,))
        for p, (split, images) in enumerate([*forced, *patients])
        for n in range(images)
    ]


@given(PATIENTS, st.booleans())
def test_split_samples__follows_the_column(patients, known):
    listed = samples(patients, known)
    splits = split_samples(listed, ("a", "b"), COLUMN, "folder").splits[:, 0]
    column = np.array([sample.published_splits[0] for sample in listed])
    for split in ("test", "external"):
        assert np.array_equal(splits == split, column == split)
    assert set(splits) <= set(SPLITS)
    if "val" in column:
        assert np.array_equal(splits, column)
    else:  # validation is taken from train
        assert set(column[splits == "val"]) == {"train"}
    patients_of = [
        {sample.patient_id for sample, split in zip(listed, splits, strict=True) if split == name} for name in SPLITS
    ]
    if known:
        assert sum(map(len, patients_of)) == len(set.union(*patients_of))


def test_split_samples__patient_in_two_splits_is_an_error():
    listed = samples([])
    listed.append(Sample("x", "a", "P0", published_splits=("external",), where="t.csv line 99"))
    with pytest.raises(InputError, match=r"patient P0 is in train \(00-0\) and external \(t.csv line 99\)"):
        split_samples(listed, ("a", "b"), COLUMN, "folder")


def test_split_samples__takes_validation_from_train_and_notes_external_images():
    assignment = split_samples(samples([("external", 3)]), ("a", "b"), COLUMN, "folder")
    assert any("3 images are external. They are not used for model selection" in note for note in assignment.notes)
    assert any(
        "No row has the value val: a fifth of each training split is used for validation, by patient" in note
        for note in assignment.notes
    )
    assert SplitParams(protocol="column", test_fold="all").test_folds == [0]
    with pytest.raises(InputError, match="protocol=column: the images have no split from a table"):
        split_samples([Sample("x", "a"), Sample("y", "b")], ("a", "b"), COLUMN, "folder")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            ["train", "val"],
            r"data\.split\.protocol=column: with test fold 0, the test split has no images. Assign more rows to "
            "test in the column",
        ),
        (["train", "val", "external"], "test split has no images"),
        (["val", "test"], r"train split has no images. Assign more rows to train"),
    ],
)
def test_split_samples__split_without_images_is_an_error(splits, message):
    listed = [Sample(f"{k}", "ab"[k % 2], f"P{k}", published_splits=(splits[k // 2 % len(splits)],)) for k in range(24)]
    with pytest.raises(InputError, match=message):
        split_samples(listed, ("a", "b"), SplitParams(protocol="column", test_fold=0), "folder")


def test_split_samples__class_without_test_images_is_an_error():
    listed = [Sample(f"{k}", "ab"[k % 2], f"P{k}", published_splits=(SPLITS[k // 2 % 3],)) for k in range(24)]
    listed = [sample for sample in listed if (sample.label, sample.published_splits) != ("b", ("test",))]
    with pytest.raises(InputError, match=r"Class b .* is absent from test.* The column determines the splits"):
        split_samples(listed, ("a", "b"), SplitParams(protocol="column", test_fold=0), "folder")
