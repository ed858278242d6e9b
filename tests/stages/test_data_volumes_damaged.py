"""Volumes that cannot be used: each is named in one line, and nothing half-written remains."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from medtune.config.errors import InputError
from tests.stages.volume_folder import change, prepare, refusal, report, write_example

IMAGE, MASK = "images/4.nii.gz", "masks/4.nii.gz"


@pytest.fixture
def section(tmp_path):
    return write_example("volumes", tmp_path / "raw")


def values(path):
    return np.asarray(nib.load(path).dataobj)


def replace_voxel(value):
    def damage(path):
        array = values(path).astype(np.float32)
        array[0, 0, 0] = value
        change(path, array)

    return damage


def set_affine(column):
    def damage(path):
        affine = nib.load(path).affine
        affine[:3, 0] = column if column is not None else affine[:3, 1] + 0.1 * affine[:3, 0]
        image = nib.Nifti1Image(values(path), None)
        image.header.set_sform(affine, 1)
        nib.save(image, path)

    return damage


def set_bytes(offset, layout, *numbers):
    """Write numbers into the header, which is at the start of the file."""

    def damage(path):
        content = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(layout, content, offset, *numbers)
        path.write_bytes(gzip.compress(bytes(content)))

    return damage


def shifted(affine):
    """Return an affine whose voxels are 0.01 mm further to the right."""
    affine[0, 3] += 0.01
    return affine


def append_zeros(path):
    """Append zeros that the compressed file hardly shows."""
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content + bytes(10_000_000)))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


HEADERS = {
    "not NIfTI": (IMAGE, lambda path: path.write_bytes(b"text" * 100), "not a NIfTI file"),
    "empty": (IMAGE, lambda path: path.write_bytes(b""), "the file is empty"),
    "2-D": (IMAGE, lambda path: change(path, values(path)[:, :, 0]), "2 axes"),
    "5-D": (IMAGE, lambda path: change(path, np.zeros((4, 4, 4, 2, 3), np.float32)), "5 axes"),
    "channels": (IMAGE, lambda path: change(path, np.stack([values(path)] * 2, -1)), "2 channels; expected 1"),
    "shape": (MASK, lambda path: change(path, values(path)[:-1]), "the volume 4.nii.gz has"),
    "affine": (MASK, lambda path: change(path, None, shifted(nib.load(path).affine)), " mm apart"),
    "singular": (IMAGE, set_affine(0.0), "the affine is singular"),
    "sheared": (IMAGE, set_affine(None), "the affine is sheared"),
    "zero spacing": (IMAGE, set_bytes(80, "<f", 0.0), "the spacing is"),
    "negative spacing": (IMAGE, set_bytes(80, "<f", -1.0), "the spacing is"),
    "too many voxels": (IMAGE, set_bytes(42, "<3h", 2000, 2000, 2000), "voxels; at most 2,147,483,648"),
    "gzip bomb": (IMAGE, set_bytes(42, "<3h", 1000, 1000, 1000), "truncated"),
    "several masks": (MASK, lambda path: change(path, np.stack([values(path)] * 2, -1)), "expected one mask of 3 axes"),
}
VOXELS = {
    "truncated": (IMAGE, truncate, "truncated"),
    "gzip bomb with more bytes": (IMAGE, append_zeros, "more bytes than"),
    "NaN": (IMAGE, replace_voxel(np.nan), "voxels are NaN or infinite"),
    "infinite": (IMAGE, replace_voxel(np.inf), "voxels are NaN or infinite"),
    "constant": (IMAGE, lambda path: change(path, np.full_like(values(path), 7)), "constant"),
    "nearly constant": (IMAGE, lambda path: change(path, np.eye(1, values(path).size).reshape(values(path).shape)),
                        "constant"),
    "fractions": (MASK, replace_voxel(0.5), "a mask must contain integers"),
    "unknown label": (MASK, replace_voxel(9), "the mask has the labels 9, which are not among 0, 1, 2, 3"),
    "negative label": (MASK, replace_voxel(-1), "the mask has the labels -1"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*HEADERS, *VOXELS])
def test_damaged_volume__is_named_in_one_line_with_exit_code_2(section, tmp_path, capsys, name):
    path, damage, problem = {**HEADERS, **VOXELS}[name]
    damage(tmp_path / "raw" / path)
    line = refusal(section, tmp_path, capsys)
    assert line.startswith("1 of 12 volumes cannot be used: images/4.nii.gz: ")
    assert path in line
    assert problem in line
    assert str(tmp_path) not in line


def test_header__is_checked_before_voxels_are_read(section, tmp_path):
    truncate(tmp_path / "raw" / "images" / "0.nii.gz")
    HEADERS["5-D"][1](tmp_path / "raw" / IMAGE)
    with pytest.raises(InputError, match="1 of 12 volumes") as error:
        prepare(section, tmp_path / "out")
    assert "images/0.nii.gz" not in str(error.value)


def test_damaged_volumes__are_left_out_if_allowed(section, tmp_path):
    HEADERS["5-D"][1](tmp_path / "raw" / IMAGE)
    truncate(tmp_path / "raw" / "images" / "0.nii.gz")
    prepared = prepare({**section, "on_bad_image": "reject"}, tmp_path / "out")
    rejected = report(prepared)["rejected"]
    assert [entry["path"] for entry in rejected] == [IMAGE, "images/0.nii.gz"]
    assert "5 axes" in rejected[0]["reason"]
    assert (report(prepared)["n_found"], report(prepared)["n_kept"]) == (12, 10)
    assert prepared.volumes.truth(0).shape == tuple(prepared.volumes.entries[0].original_shape)


def test_damaged_volumes__of_all_patients_are_an_error(section, tmp_path):
    for path in (tmp_path / "raw" / "images").iterdir():
        truncate(path)
    with pytest.raises(InputError, match="none of 12 volumes can be used"):
        prepare({**section, "on_bad_image": "reject"}, tmp_path / "out")


@pytest.mark.parametrize("layout", ["table", "folders"])
@pytest.mark.parametrize("missing", [IMAGE, MASK])
def test_missing_file__is_named(section, tmp_path, capsys, missing, layout):
    (tmp_path / "raw" / missing).unlink()
    if layout == "folders":
        section |= {"csv": None, "split": {"protocol": "image", "folds": 3}}
    line = refusal(section, tmp_path, capsys)
    assert line.startswith("1 of 12 cases lack a file: ")
    assert missing in line


def test_label__that_no_training_volume_has_is_named(section, tmp_path, capsys):
    for number in range(12):
        path = tmp_path / "raw" / "masks" / f"{number}.nii.gz"
        if number not in (2, 3):  # one patient
            change(path, np.where(values(path) == 3, 0, values(path)).astype(np.uint8))
    line = refusal(section, tmp_path, capsys)
    assert line.startswith("data.split.protocol=patient: ")
    assert "no training volume has the label lesion (label in 2 volumes). Add volumes with it" in line
