"""Orientation, spacing and checks, compared with nibabel."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.geometry import (
    check_affine,
    check_same_grid,
    from_ras,
    orientation_of,
    ras_affine,
    ras_shape,
    spacing,
    to_ras,
)
from tests.serving.volumes.volume_files import ORIENTATIONS, grids, make_affine, reoriented


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    """Return an array in which each voxel has another value."""
    return np.arange(np.prod(shape)).reshape(shape)


def test_orientations__are_all_48() -> None:
    assert len(set(ORIENTATIONS)) == 48


@given(st.sampled_from(ORIENTATIONS), st.tuples(*[st.integers(1, 4)] * 3), st.booleans())
def test_to_ras__back_is_the_identity(orientation, shape, has_channels):
    array = numbered((2, *shape) if has_channels else shape)
    assert np.array_equal(from_ras(to_ras(array, orientation), orientation), array)
    assert np.array_equal(to_ras(from_ras(array, orientation), orientation), array)
    assert to_ras(array, orientation).shape[-3:] == ras_shape(shape, orientation)


@given(grids(), st.sampled_from(ORIENTATIONS))
def test_to_ras__equals_nibabel(grid, orientation):
    shape, affine = grid
    stored, stored_affine = reoriented(numbered(shape), affine, orientation)
    assert orientation_of(stored_affine) == "".join(nib.aff2axcodes(stored_affine)) == orientation
    assert np.array_equal(to_ras(stored, orientation), numbered(shape))
    assert ras_affine(stored_affine, stored.shape, orientation) == pytest.approx(affine, abs=1e-9)


@given(grids(), st.sampled_from(ORIENTATIONS))
def test_ras_affine__each_voxel_keeps_its_position(grid, orientation):
    shape, affine = grid
    # The value of a voxel is its index, so its position is known in both arrays.
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    in_ras = to_ras(indices, orientation)
    before = nib.affines.apply_affine(affine, in_ras.reshape(3, -1).T)
    places = np.stack(np.meshgrid(*map(np.arange, in_ras.shape[1:]), indexing="ij"))
    after = nib.affines.apply_affine(ras_affine(affine, shape, orientation), places.reshape(3, -1).T)
    assert after == pytest.approx(before, abs=1e-9)


def test_to_ras__is_a_view() -> None:
    array = np.zeros((2, 3, 4))
    to_ras(array, "PIR")[...] = 1
    assert array.all()


@pytest.mark.parametrize("orientation", ["", "RA", "RAX", "RRS", "RLS", "ras", "RASS"])
def test_to_ras__rejects_other_text(orientation):
    with pytest.raises(ValueError, match="expected one letter each of LR, PA and IS"):
        to_ras(np.zeros((2, 2, 2)), orientation)


def test_orientation__of_a_diagonal_affine_is_valid() -> None:
    affine = make_affine(angles=(0, 0, np.pi / 4))
    assert orientation_of(affine) in ORIENTATIONS


def test_spacing__does_not_depend_on_rotation() -> None:
    assert spacing(make_affine((0.5, 2, 3), (0.3, -0.2, 1))) == pytest.approx([0.5, 2, 3])


def sheared(amount: float) -> np.ndarray:
    affine = make_affine()
    affine[0, 1] = amount
    return affine


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.eye(3), "not a 4 x 4 matrix"),
        (np.diag([1, np.nan, 1, 1]), "not a 4 x 4 matrix of finite numbers"),
        (np.diag([1, 1, 1, 2]), "last row"),
        (np.diag([1, 0, 1, 1]), "singular: the spacing is 1, 0, 1 mm"),
        (sheared(0) @ np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "lie in one plane"),
        (sheared(0.5), "sheared: two axes meet at 63.43 degrees"),
        (sheared(0.002), "sheared"),
    ],
)
def test_check_affine__rejects(affine, message):
    with pytest.raises(DecodeError, match=message):
        check_affine(np.asarray(affine, np.float64))


@given(grids(), st.sampled_from(ORIENTATIONS))
def test_check_affine__accepts_rotations_in_single_precision(grid, orientation):
    shape, affine = grid
    check_affine(reoriented(np.zeros(shape), affine, orientation)[1].astype(np.float32).astype(np.float64))


def test_check_same_grid__within_a_thousandth_of_a_millimeter() -> None:
    shape, affine = (100, 100, 50), make_affine((0.5, 0.5, 3))
    near, far, rotated = affine.copy(), affine.copy(), affine.copy()
    near[0, 3] += 0.0009
    far[0, 3] += 0.0011
    rotated[1, 0] += 0.00002  # 99 voxels away this is 2 micrometers
    check_same_grid(shape, affine, shape, near, "b.nii")
    with pytest.raises(DecodeError, match=r"differs from the affine of b.nii: the same voxel is 0.0011 mm apart"):
        check_same_grid(shape, affine, shape, far, "b.nii")
    with pytest.raises(DecodeError, match=r"0.00198 mm apart"):
        check_same_grid(shape, affine, shape, rotated, "b.nii")
    with pytest.raises(DecodeError, match=r"the shape is 100 x 100 x 50, but b.nii has 100 x 100 x 51"):
        check_same_grid(shape, affine, (100, 100, 51), affine, "b.nii")
