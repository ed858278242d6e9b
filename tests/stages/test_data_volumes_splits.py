"""Splits of volumes in stage data: training volumes, patients, copies and labels."""

import nibabel as nib
import numpy as np
import pytest

from medtune.config.errors import InputError
from tests.stages.volume_folder import FROM_ALL_VOLUMES, change, prepare, report, write_example


@pytest.fixture
def section(tmp_path):
    return write_example("volumes", tmp_path / "raw")


def test_run__fixed_split_uses_only_training_volumes(section, tmp_path):
    rows = (tmp_path / "raw" / "volumes.csv").read_text().split()
    splits = ["split", *["train"] * 6, *["val"] * 2, *["test"] * 2, *["external"] * 2]
    (tmp_path / "raw" / "volumes.csv").write_text("\n".join(map(",".join, zip(rows, splits, strict=True))))
    for path in (tmp_path / "raw" / "images").iterdir():
        values = np.asarray(nib.load(path).dataobj)
        change(path, values / values.max())
    for name in (8, 9, 10, 11):  # the spacing and the scale of test volumes must not matter
        for folder in ("images", "masks"):
            path = tmp_path / "raw" / folder / f"{name}.nii.gz"
            affine = np.diag([4.0, 4.0, 4.0, 1.0])
            change(path, np.asarray(nib.load(path).dataobj), affine)
    changed = {**section, "split": {"protocol": "column", "test_fold": 0}, "intensity": {"rule": "foreground"}}
    prepared = prepare(changed, tmp_path / "out")
    train = prepared.indices(0)["train"]
    assert {prepared.paths[row] for row in train} == {f"images/{number}.nii.gz" for number in range(6)}
    spacings = [prepared.volumes.entries[row].spacing for row in train]
    assert prepared.info["volumes"]["spacing"] == np.median(spacings, axis=0).tolist()
    foreground = []
    for number in range(6):
        image, mask = (np.asarray(nib.load(tmp_path / "raw" / folder / f"{number}.nii.gz").dataobj)
                       for folder in ("images", "masks"))  # fmt: skip
        foreground.append(image[mask > 0])
    (rule,) = prepared.info["volumes"]["intensity"]
    assert rule["mean"] == pytest.approx(np.concatenate(foreground).mean(), rel=1e-6)
    assert not any(note.startswith(FROM_ALL_VOLUMES) for note in prepared.info["notes"])
    assert prepared.info["counts"]["folds"]["0"]["external"]["upper organ"] == 2


def test_run__foreground_of_rotating_folds_is_in_a_note(section, tmp_path):
    for path in (tmp_path / "raw" / "images").iterdir():
        values = np.asarray(nib.load(path).dataobj)
        change(path, values / values.max())
    prepared = prepare({**section, "intensity": {"rule": "foreground"}}, tmp_path / "out")
    assert f"{FROM_ALL_VOLUMES}spacing, patch, normalization." in (prepared.info["notes"])


def test_run__unknown_patients_of_decathlon(tmp_path):
    section = write_example("decathlon", tmp_path / "raw")
    with pytest.raises(InputError, match=r"data\.split\.protocol=patient: the data have no patient ids"):
        prepare({**section, "split": {"protocol": "patient"}}, tmp_path / "out")
    prepared = prepare(section, tmp_path / "out")
    assert not prepared.info["patients_known"]
    assert "The source has no patient ids: a patient may be in both train and test." in prepared.info["notes"]


def test_run__identical_volumes_of_two_patients_are_an_error(section, tmp_path):
    for folder in ("images", "masks"):
        content = (tmp_path / "raw" / folder / "0.nii.gz").read_bytes()
        for number in (2, 4, 6, 8, 10):
            (tmp_path / "raw" / folder / f"{number}.nii.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"identical volumes .*images/0\.nii\.gz = images/10\.nii\.gz"):
        prepare(section, tmp_path / "out")
    by_image = prepare({**section, "split": {"protocol": "image"}}, tmp_path / "out")
    exact = report(by_image)["duplicates"]["exact"]
    assert (exact["sets"], exact["with_different_labels"]) == (1, 0)


def test_run__label_without_training_volumes(section, tmp_path):
    for number in range(12):
        path = tmp_path / "raw" / "masks" / f"{number}.nii.gz"
        mask = np.asarray(nib.load(path).dataobj)
        if number not in (2, 3):  # one patient
            change(path, np.where(mask == 3, 0, mask).astype(np.uint8))
    with pytest.raises(InputError, match=r"no training volume has the label lesion \(label in 2 volumes\)"):
        prepare(section, tmp_path / "out")
    prepared = prepare({**section, "split": {"allow_missing_classes": True}}, tmp_path / "out")
    assert any(note.startswith("Label lesion (2 volumes) is absent from") for note in prepared.info["notes"])
    names = [*section["class_names"], "vessel"]
    with pytest.raises(InputError, match="no mask contains the label vessel"):
        prepare({**section, "class_names": names, "split": {"allow_missing_classes": True}}, tmp_path / "out")
