from dataclasses import replace

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data import manifest
from medtune.data.manifest import load_prepared
from medtune.serving.members import REFIT
from tests.data.prepared_folder import prepare


def test_load_prepared__returns_written_data(tmp_path):
    prepared = load_prepared(prepare(tmp_path / "prepared"))
    assert prepared.classes == ("a", "b")
    assert prepared.labels.tolist() == [0, 1] * 10
    assert prepared.patient_ids[3] == "P3"
    assert prepared.images.shape == (20, 8, 8, 3)
    for fold in range(5):
        indices = prepared.indices(fold)
        assert sorted(np.concatenate(list(indices.values())).tolist()) == list(range(20))
        assert np.array_equal(indices["test"], np.flatnonzero(prepared.folds == fold))
    with pytest.raises(InputError, match="a fold from 0 to 4"):
        prepared.indices(5)


def test_indices__refit_trains_on_all_labeled_images_except_external(tmp_path):
    prepared = load_prepared(prepare(tmp_path / "prepared"))
    indices = prepared.indices(REFIT)
    assert indices["train"].tolist() == list(range(20))
    assert not len(indices["val"]) + len(indices["test"])
    splits = prepared.splits.copy()
    splits[3] = "external"
    splits[4] = "unused"
    splits[5, 1:] = "unused"
    changed = replace(prepared, splits=splits)
    assert np.setdiff1d(np.arange(20), changed.indices(REFIT)["train"]).tolist() == [3, 4]
    assert changed.external_indices(REFIT).tolist() == [3]
    assert changed.split_digest(REFIT) != prepared.split_digest(REFIT)


def test_metadata__has_values_per_column(tmp_path):
    folder = prepare(tmp_path / "prepared", extra={"Sex": " F ", "scanner": "unknown"})
    prepared = load_prepared(folder)
    assert list(prepared.metadata_cells) == ["Sex", "scanner"]
    assert prepared.metadata("sex") == ("F",) * 20
    assert prepared.metadata("scanner") == (None,) * 20
    assert load_prepared(prepare(tmp_path / "b", extra={"site": "A"})).digest == prepared.digest
    with pytest.raises(InputError, match=r"evaluate\.by=scaner: no such column \(did you mean 'scanner'\?\)"):
        prepared.metadata("scaner")


def test_digest__depends_on_content_but_not_on_the_split(tmp_path):
    one_fold, all_folds = (
        load_prepared(prepare(tmp_path / "a")),
        load_prepared(prepare(tmp_path / "b", test_fold="all")),
    )
    assert one_fold.digest == all_folds.digest
    assert one_fold.split_digest(1) == all_folds.split_digest(1)
    assert one_fold.split_digest(1) != one_fold.split_digest(2)
    other = load_prepared(prepare(tmp_path / "c", with_patients=False))
    assert other.digest != one_fold.digest


@pytest.mark.parametrize("name", ["images.npy", "manifest.csv", "dataset.json"])
def test_load_prepared__damage_is_an_error(tmp_path, name):
    folder = prepare(tmp_path / "prepared")
    content = bytearray((folder / name).read_bytes())
    for mutation in range(3):
        changed = bytearray(content)
        if mutation == 0:
            changed[len(content) // 2] ^= 1
        elif mutation == 1:
            changed = changed[:-1]
        (folder / name).write_bytes(changed)
        if mutation == 2:
            (folder / name).unlink()
        with pytest.raises(InputError, match=r"run `medtune data`"):
            load_prepared(folder)


def test_load_prepared__missing_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"does not exist: run `medtune data`"):
        load_prepared(tmp_path / "prepared")


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize("images", [np.array([Bomb()], object), np.zeros((1, 8, 8), np.uint8)])
def test_load__pickled_images_are_not_executed(tmp_path, images):
    np.save(tmp_path / "images.npy", images, allow_pickle=True)
    with pytest.raises(InputError, match=r"images\.npy (is not a valid array|is uint8 \(1, 8, 8\))"):
        manifest._open_images(tmp_path / "images.npy", 1)
