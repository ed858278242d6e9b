"""Limits of volumes and comparison of grids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.nifti_space import NiftiSpace
from medtune.serving.volumes.volume import Volume, check_values, check_voxel_count, make_grid
from tests.serving.volumes.volume_files import ORIENTATIONS, grids, make_affine, reoriented


@given(grids(), st.sampled_from(ORIENTATIONS), st.sampled_from(ORIENTATIONS))
def test_grid__is_the_same_in_each_orientation(grid, first, second):
    shape, affine = grid
    one, other = (
        make_grid(stored.shape, stored_affine, NiftiSpace.from_affine(stored_affine))
        for stored, stored_affine in (reoriented(np.zeros(shape), affine, name) for name in (first, second))
    )
    one.check_same(other, "the other file")
    assert one.ras_shape == other.ras_shape == shape
    moved = affine.copy()
    moved[2, 3] += 0.1
    with pytest.raises(DecodeError, match=r"the affine differs from the affine of x.nii: .* 0.1 mm apart"):
        one.check_same(make_grid(shape, moved, other.space), "x.nii")


def test_make_grid__checks_the_affine() -> None:
    with pytest.raises(DecodeError, match="singular"):
        make_grid((2, 2, 2), np.diag([1.0, 1, 0, 1]), NiftiSpace.from_affine(np.eye(4)))


def test_make_grid__refuses_an_extent_of_kilometers() -> None:
    space = NiftiSpace.from_affine(np.eye(4))
    assert make_grid((2, 2, 1000), np.diag([1.0, 1, 100, 1]), space).shape == (2, 2, 1000)
    with pytest.raises(DecodeError, match="an axis is 100,100 mm long; at most 100,000 mm are"):
        make_grid((2, 2, 1001), np.diag([1.0, 1, 100, 1]), space)


def test_volume__has_shape_and_spacing_in_ras() -> None:
    affine = reoriented(np.zeros((2, 3, 4)), make_affine((1, 2, 3)), "SLP")[1]
    grid = make_grid((4, 2, 3), affine, NiftiSpace.from_affine(affine))
    volume = Volume(np.zeros((1, 2, 3, 4), np.float32), grid.ras_affine, grid)
    assert volume.shape == (2, 3, 4)
    assert volume.spacing == pytest.approx([1, 2, 3])


def test_voxel_count__at_most_two_to_the_31() -> None:
    check_voxel_count((2048, 1024, 1024))
    with pytest.raises(DecodeError, match="2048 x 1024 x 1025 voxels; at most 2,147,483,648 are read"):
        check_voxel_count((2048, 1024, 1025))
    with pytest.raises(DecodeError, match="65535 x 65535 x 65535 x 65535 voxels"):
        check_voxel_count((65535,) * 4)
    with pytest.raises(DecodeError, match="each size must be positive"):
        check_voxel_count((2, 0, 2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values__must_be_finite(value):
    channel = np.zeros((2, 2, 2), np.float32)
    channel[1, 0, 1] = value
    with pytest.raises(DecodeError, match="voxels are NaN or infinite"):
        check_values(channel)


def test_values__must_differ() -> None:
    channel = np.full((2, 2, 2), -1024, np.float32)
    with pytest.raises(DecodeError, match="the volume is constant: each voxel is -1024"):
        check_values(channel)
    channel[0, 0, 0] = 0
    check_values(channel)
