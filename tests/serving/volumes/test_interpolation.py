"""Interpolation of volumes: equal to scipy.ndimage of order 1 and 3."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.serving.volumes.interpolation import interpolate

RNG = np.random.default_rng(0)
SIDE = st.integers(1, 9)
SHAPES = st.tuples(SIDE, SIDE, SIDE)
SEEDS = st.integers(0, 2**32 - 1)
METHODS = {"linear": 1, "cubic": 3}


def zoom(values: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    """Resample with scipy, with the same voxel centers and edges."""
    factors = np.divide(shape, values.shape)
    result = scipy.ndimage.zoom(values.astype(np.float64), factors, order=order, mode="nearest", grid_mode=True)
    assert result.shape == shape
    return result


@settings(max_examples=120)
@given(SHAPES, SHAPES, st.sampled_from(["linear", "cubic"]), SEEDS)
def test_interpolate__equals_scipy(shape: tuple[int, ...], new: tuple[int, int, int], method: str, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    result = interpolate(values, new, method, None)
    np.testing.assert_allclose(result, zoom(values, new, METHODS[method]), atol=2e-5)
    assert result.dtype == np.float32


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("method", ["linear", "cubic"])
@pytest.mark.parametrize(("old", "new"), [(70, 201), (201, 70), (100, 101), (1, 90), (90, 1)])
def test_interpolate__long_axis_equals_scipy(axis: int, method: str, old: int, new: int) -> None:
    shape, target = [3, 4, 5], [3, 4, 5]
    shape[axis], target[axis] = old, new
    values = RNG.normal(size=shape).astype(np.float32)
    expected = zoom(values, tuple(target), METHODS[method])
    np.testing.assert_allclose(interpolate(values, tuple(target), method, None), expected, atol=2e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("old", "new", "nearest"),
    [
        (3, 9, [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        (9, 3, [1, 4, 7]),
        (5, 7, [0, 1, 1, 2, 3, 3, 4]),
        (7, 5, [0, 2, 3, 4, 6]),
        (4, 6, [0, 1, 1, 2, 3, 3]),
        (4, 1, [2]),
    ],
)
def test_interpolate__thick_axis_takes_the_nearest_voxel(axis: int, old: int, new: int, nearest: list[int]) -> None:
    shape, target = [4, 4, 4], [4, 4, 4]
    shape[axis], target[axis] = old, new
    values = RNG.normal(size=shape).astype(np.float32)
    result = interpolate(values, tuple(target), "cubic", axis)
    np.testing.assert_array_equal(result, values.take(nearest, axis))
