"""Columns of manifest.csv."""

import csv

import pytest

from medtune.config.errors import InputError
from medtune.data.manifest import load_prepared
from medtune.data.manifest_writing import check_metadata
from tests.data.prepared_folder import prepare


def test_manifest__has_columns_and_split(tmp_path):
    folder = prepare(tmp_path / "one")
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    assert list(rows[0])[:9] == ["path", "label", "patient", "fold", "split", "sha256", "width", "height", "slide"]
    assert all(row["split"] == row["role_1"] for row in rows)
    all_folds = prepare(tmp_path / "all_folds", test_fold="all")
    assert {row["split"] for row in csv.DictReader((all_folds / "manifest.csv").open())} == {"cv"}


def test_manifest__path_replaces_an_unknown_patient(tmp_path):
    prepared = load_prepared(prepare(tmp_path / "prepared", with_patients=False))
    assert prepared.patient_ids.tolist() == list(prepared.paths)


@pytest.mark.parametrize("name", ["sha256", "role_1", "role_x", ""])
def test_check_metadata__reserved_column_name_is_an_error(name):
    with pytest.raises(InputError, match=f"data.csv=t.csv: the column name '{name}' is reserved"):
        check_metadata(["age", name], 5, "data.csv=t.csv")
