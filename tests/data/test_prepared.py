"""Verification of the prepared set: once per process, and again if a file changes."""

from dataclasses import replace

import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.data.prepared import open_prepared
from medtune.runtime.paths import RunPaths, TrainSubset
from medtune.stages import data

TINY = ["data.image_size=16", "data.patients=20", "data.images_per_patient=1"]


@pytest.fixture
def paths(tmp_path):
    data.run(load(None, TINY), run_paths := RunPaths(tmp_path, tmp_path / "cache"))
    return run_paths


def test_open_prepared__verifies_once_unless_a_file_changes(paths):
    first = open_prepared(paths)
    assert open_prepared(replace(paths, out=paths.out / "other", data=paths.prepared)) is first
    (paths.prepared / "images.npy").touch()
    reopened = open_prepared(paths)
    assert reopened is not first
    assert reopened.digest == first.digest
    (paths.prepared / "images.npy").write_bytes(b"damaged")
    with pytest.raises(InputError, match="is damaged"):
        open_prepared(paths)


def test_open_prepared__subset_removes_only_training_patients(paths):
    complete, subset = open_prepared(paths), open_prepared(replace(paths, subset=TrainSubset(50, 1)))
    assert subset.digest == complete.digest
    for fold in range(5):
        splits, subset_splits = complete.indices(fold), subset.indices(fold)
        assert 0 < len(subset_splits["train"]) < len(splits["train"])
        assert set(subset_splits["train"]) <= set(splits["train"])
        for split in ("val", "test"):
            assert subset_splits[split].tolist() == splits[split].tolist()
