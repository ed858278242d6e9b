"""Reading of masks from NIfTI files."""

from pathlib import Path

import numpy as np
import pytest

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.nifti import read_mask, read_volume
from tests.serving.volumes.volume_files import TYPES, make_affine, patch, reoriented, write_nifti

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("dtype", TYPES)
def test_mask__of_each_type(tmp_path, dtype):
    mask = RNG.integers(0, 3, (3, 4, 5))
    stored, affine = reoriented(mask.astype(dtype), make_affine(), "PIR")
    actual = read_mask(write_nifti(tmp_path / "m.nii.gz", stored, affine), (0, 1, 2))
    assert actual.dtype == np.uint8
    assert np.array_equal(actual, mask)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (0.5, "f4", "must contain integers"),
        (np.nan, "f4", "must contain integers"),
        (np.inf, "f4", "must contain integers"),
        (3, "u1", "m.nii: the mask has the labels 3, which are not among 0, 1, 2"),
        (-1, "i2", "the labels -1,"),
        (256, "i2", "the labels 256,"),
        (2**40, "i8", "the labels 1099511627776,"),
        (257, "f4", "the labels 257,"),
    ],
)
def test_mask__with_other_values_is_refused(tmp_path, value, dtype, message):
    mask = np.ones((3, 4, 5), dtype)
    mask[0, 0, 0] = value
    with pytest.raises(DecodeError, match=message):
        read_mask(write_nifti(tmp_path / "m.nii", mask), (0, 1, 2))


def test_mask__names_at_most_five_unknown_labels(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"labels 1, 2, 3, 4, 5, \.\.\., which are not among 0$"):
        read_mask(write_nifti(tmp_path / "m.nii", np.arange(60, dtype=np.uint8).reshape(3, 4, 5)), (0,))


def test_mask__scaling_is_applied(tmp_path: Path) -> None:
    path = patch(write_nifti(tmp_path / "m.nii", np.full((3, 4, 5), 4, np.uint8)), scl_slope=0.5, scl_inter=0.0)
    assert np.array_equal(read_mask(path, (0, 2)), np.full((3, 4, 5), 2))
    with pytest.raises(DecodeError, match="must contain integers"):
        read_mask(patch(path, scl_slope=0.1), (0, 2))


@pytest.mark.parametrize("labels", [(), (-1, 0), (0, 256)])
def test_mask__labels_must_fit_eight_bits(tmp_path, labels):
    with pytest.raises(ValueError, match="from 0 to 255"):
        read_mask(write_nifti(tmp_path / "m.nii", np.zeros((3, 4, 5), np.uint8)), labels)


def test_mask__may_be_empty_or_full(tmp_path: Path) -> None:
    for label in (0, 1):
        mask = np.full((3, 4, 5), label, np.uint8)
        assert np.array_equal(read_mask(write_nifti(tmp_path / "m.nii", mask), (0, 1)), mask)


def test_mask__must_have_the_grid_of_the_volume(tmp_path: Path) -> None:
    mask = RNG.integers(0, 2, (3, 4, 5), np.uint8)
    grid = read_volume(write_nifti(tmp_path / "x.nii", np.arange(60, dtype=np.int16).reshape(3, 4, 5))).grid
    flipped, affine = reoriented(mask, make_affine(), "LPS")
    assert np.array_equal(read_mask(write_nifti(tmp_path / "m.nii", flipped, affine), (0, 1), grid), mask)
    with pytest.raises(DecodeError, match=r"m.nii: the affine differs from the affine of the volume"):
        read_mask(write_nifti(tmp_path / "m.nii", mask, make_affine(angles=(0.01, 0, 0))), (0, 1), grid)
    with pytest.raises(DecodeError, match=r"m.nii: the shape is 3 x 4 x 4, but the volume has 3 x 4 x 5"):
        read_mask(write_nifti(tmp_path / "m.nii", mask[..., 1:]), (0, 1), grid)
