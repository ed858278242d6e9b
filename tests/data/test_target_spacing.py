"""Spacing and patch size of a data set, with published configurations of nnU-Net as references."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medtune.config.errors import InputError
from medtune.data.target_spacing import median_shape, patch_size, target_spacing

SPACING = st.tuples(*[st.floats(0.2, 8)] * 3)
SHAPE = st.tuples(*[st.integers(1, 600)] * 3)
STRIDES = st.tuples(*[st.sampled_from([1, 2, 4, 8, 16, 32])] * 3)


def test_target_spacing__is_the_median() -> None:
    assert target_spacing([(1, 2, 1), (0.8, 2.5, 1.5), (1.2, 1.5, 3)]) == (1, 2, 1.5)


def test_target_spacing__thick_axis_takes_the_10th_percentile() -> None:
    thickness = np.linspace(5, 10, 11)
    result = target_spacing([(1.5, 1.4, mm) for mm in thickness])
    assert result == (1.5, 1.4, pytest.approx(5.5))


def test_target_spacing__thick_axis_is_not_finer_than_the_others() -> None:
    assert target_spacing([(1, 2, mm) for mm in (1, 1, 8, 8, 8)]) == (1, 2, 2)


def test_target_spacing__ratio_of_3_is_not_thick() -> None:
    assert target_spacing([(1, 1, mm) for mm in (1, 3, 3, 3)]) == (1, 1, 3)


@given(st.lists(SPACING, min_size=1, max_size=8), st.permutations([0, 1, 2]))
def test_target_spacing__does_not_depend_on_the_order(spacings: list[tuple[float, ...]], axes: list[int]) -> None:
    result = target_spacing(spacings)
    assert target_spacing(spacings[::-1]) == result
    medians = np.median(spacings, axis=0)
    assume(len(set(medians.tolist())) == 3)
    assert target_spacing(np.array(spacings)[:, axes]) == tuple(result[axis] for axis in axes)
    assert all(value <= median for value, median in zip(result, medians, strict=True))


@pytest.mark.parametrize("spacings", [[], [(1, 0, 1)], [(1, -1, 1)], [(1, np.nan, 1)], [(1, 1)]])
def test_target_spacing__refuses(spacings: list[tuple[float, ...]]) -> None:
    with pytest.raises(InputError, match=r"data\.spacing=null: the spacing of a training volume is missing or not"):
        target_spacing(spacings)


def test_median_shape__after_resampling() -> None:
    shapes, spacings = [(10, 10, 10), (20, 20, 5), (30, 30, 30)], [(1, 1, 1), (1, 1, 4), (0.5, 0.5, 0.5)]
    assert median_shape(shapes, spacings, (1, 1, 1)) == (15, 15, 15)


@pytest.mark.parametrize(
    ("spacing", "shape", "strides", "max_voxels", "patch"),
    [
        ((1, 1, 1), (36, 50, 35), (8, 8, 8), 128**3, (40, 56, 40)),  # hippocampus
        ((1, 0.77, 0.77), (482, 512, 512), (32, 32, 32), 128**3, (128, 128, 128)),  # liver
        ((1, 1, 1), (138, 169, 138), (32, 32, 32), 128**3, (128, 128, 128)),  # brain tumor
        ((3.6, 0.62, 0.62), (20, 320, 319), (4, 64, 64), 20 * 320 * 256, (20, 320, 256)),  # prostate
        ((1, 1, 1), (1024, 768, 1), (8, 8, 1), 256**2, (256, 256, 1)),  # images
        ((0.2, 0.4, 1), (1024, 768, 1), (8, 8, 1), 256**2, (352, 184, 1)),
        ((0.0005, 0.0005, 1), (100, 40, 1), (8, 8, 1), 256**2, (104, 40, 1)),
    ],
)
def test_patch_size__examples_of_nnunet(
    spacing: tuple[float, float, float],
    shape: tuple[int, int, int],
    strides: tuple[int, int, int],
    max_voxels: int,
    patch: tuple[int, int, int],
) -> None:
    assert patch_size(spacing, shape, strides, max_voxels) == patch


@given(SPACING, SHAPE, STRIDES, st.integers(1, 10**7))
def test_patch_size__fits_the_budget_and_the_strides(
    spacing: tuple[float, float, float], shape: tuple[int, int, int], strides: tuple[int, int, int], max_voxels: int
) -> None:
    if math.prod(strides) > max_voxels:
        with pytest.raises(InputError, match=r"data\.patch=null: the network needs patches of at least"):
            patch_size(spacing, shape, strides, max_voxels)
        return
    patch = patch_size(spacing, shape, strides, max_voxels)
    assert math.prod(patch) <= max_voxels
    for side, length, stride in zip(patch, shape, strides, strict=True):
        assert side % stride == 0
        assert 0 < side < length + stride
