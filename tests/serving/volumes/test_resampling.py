"""Resampling of volumes: exact field of view, and invertible where voxel centers coincide."""

import tracemalloc

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.interpolation import interpolate
from medtune.serving.volumes.resampling import (
    resample_image,
    resample_mask,
    resample_to_labels,
    resampled_shape,
    thick_axis,
)

RNG = np.random.default_rng(0)
SIDE = st.integers(1, 9)
SHAPES = st.tuples(SIDE, SIDE, SIDE)
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=40)
@given(SHAPES, st.tuples(*[st.sampled_from([1, 3, 5])] * 3), st.sampled_from([None, 0, 1, 2]), SEEDS)
def test_resample__and_back_is_exact_where_centers_coincide(
    shape: tuple[int, int, int], factors: tuple[int, ...], thick: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(2, *shape)).astype(np.float32)
    mask = rng.integers(0, 4, shape, dtype=np.uint8)
    x, y, z = (n * factor for n, factor in zip(shape, factors, strict=True))
    enlarged = resample_image(image, (x, y, z), thick)
    np.testing.assert_allclose(resample_image(enlarged, shape, thick), image, atol=2e-5)
    np.testing.assert_array_equal(resample_mask(resample_mask(mask, (x, y, z), thick), shape, thick), mask)


@given(SHAPES, st.tuples(*[st.floats(0.4, 3)] * 3), st.tuples(*[st.floats(0.4, 3)] * 3), SEEDS)
def test_resample__and_back_has_the_original_shape_and_range(
    shape: tuple[int, int, int], spacing: tuple[float, ...], target: tuple[float, ...], seed: int
) -> None:
    mask = np.random.default_rng(seed).integers(0, 3, shape, dtype=np.uint8)
    new, thick = resampled_shape(shape, spacing, target), thick_axis(spacing, target)
    back = resample_image(resample_image(mask[None], new, thick), shape, thick)[0]
    assert back.shape == shape
    assert back.min() >= mask.min()
    assert back.max() <= mask.max()
    labels = resample_mask(resample_mask(mask, new, thick), shape, thick)
    assert labels.shape == shape
    assert set(np.unique(labels)) <= set(np.unique(mask))


def test_resample__smooth_volume_and_back() -> None:
    x, y, z = np.meshgrid(*[np.linspace(0, np.pi, 40)] * 3, indexing="ij")
    image = (np.cos(2 * x) * np.cos(y) + np.cos(3 * z)).astype(np.float32)
    back = resample_image(resample_image(image[None], (29, 33, 57)), (40, 40, 40))[0]
    assert np.abs(back - image).max() < 0.05
    mask = (image > 0).astype(np.uint8)
    assert (resample_mask(resample_mask(mask, (29, 33, 57)), (40, 40, 40)) != mask).mean() < 0.04


@given(SHAPES, SEEDS)
def test_resample__constant_and_equal_shape_are_unchanged(shape: tuple[int, int, int], seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    np.testing.assert_array_equal(resample_image(image, shape), image)
    constant = np.full((1, *shape), 1.7e6, np.float32)
    np.testing.assert_array_equal(resample_image(constant, (5, 6, 7)), np.full((1, 5, 6, 7), 1.7e6, np.float32))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_resample_image__is_independent_of_the_scale(scale: float) -> None:
    image = RNG.random((1, 6, 7, 8)).astype(np.float32)
    scaled = resample_image(image * np.float32(scale), (9, 5, 11))
    np.testing.assert_allclose(scaled / scale, resample_image(image, (9, 5, 11)), atol=1e-5)


def test_resample_image__channels_are_independent() -> None:
    image = RNG.integers(-1000, 3000, (3, 6, 5, 4), dtype=np.int16)
    together = resample_image(image, (4, 8, 5))
    assert together.dtype == np.float32
    for channel, expected in zip(image, together, strict=True):
        np.testing.assert_array_equal(resample_image(channel[None], (4, 8, 5))[0], expected)


def test_resample__thick_axis_repeats_slices() -> None:
    image = RNG.normal(size=(1, 6, 6, 3)).astype(np.float32)
    result = resample_image(image, (9, 9, 9), thick=2)
    np.testing.assert_array_equal(result[..., 0::3], result[..., 1::3])
    np.testing.assert_array_equal(result[..., 2::3], result[..., 1::3])
    assert not np.array_equal(resample_image(image, (9, 9, 9)), result)
    mask = np.zeros((4, 4, 3), np.uint8)
    mask[..., 1] = 7
    np.testing.assert_array_equal(np.unique(np.nonzero(resample_mask(mask, (4, 4, 9), thick=2))[2]), [3, 4, 5])


@given(SHAPES, SHAPES, SEEDS)
def test_resample_to_labels__is_the_argmax(shape: tuple[int, ...], new: tuple[int, int, int], seed: int) -> None:
    classes = np.random.default_rng(seed).random((4, *shape)).astype(np.float32)
    labels = resample_to_labels(classes, new)
    assert labels.dtype == np.uint8
    resampled = [interpolate(values, new, "linear", None) for values in classes]
    np.testing.assert_array_equal(labels, np.argmax(resampled, axis=0))


def test_resample__equal_scores_give_the_lowest_label() -> None:
    mask = np.array([3, 2], np.uint8).reshape(2, 1, 1)
    np.testing.assert_array_equal(resample_mask(mask, (3, 1, 1)).ravel(), [3, 2, 2])
    assert not resample_to_labels(np.full((4, 2, 2, 2), 0.25), (3, 3, 3)).any()


def test_resample_image__object_has_the_same_place_in_the_world() -> None:
    affine = np.diag([-1.0, 2.0, 1.5, 1.0]) + np.array([[0, 0.3, 0, 10], [0, 0, 0, -5], [0, 0, 0, 7], [0, 0, 0, 0]])
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (30, 20, 24)], indexing="ij"))
    image = np.exp(-sum(((axis - c) / 3.0) ** 2 for axis, c in zip(grid, (12, 9, 13), strict=True)))
    result = resample_image(image[None], (45, 31, 17))[0]
    scale = np.divide(image.shape, result.shape)  # the outer borders of the volume do not move
    step = np.diag([*scale, 1.0])
    step[:3, 3] = (scale - 1) / 2
    expected = affine @ [*scipy.ndimage.center_of_mass(image), 1]
    np.testing.assert_allclose(affine @ step @ [*scipy.ndimage.center_of_mass(result), 1], expected, atol=0.02)


@pytest.mark.parametrize(
    ("spacing", "target", "axis"),
    [
        ((1, 1, 1), (1, 1, 1), None),
        ((0.7, 0.7, 5), (1, 1, 1), 2),
        ((1, 1, 1), (4, 1, 1), 0),
        ((5, 0.7, 0.7), (1, 1, 5), 0),
        ((1, 1, 3), (1, 1, 3), None),
        ((0.24, 1.25, 1.2500001), (1, 1, 1), None),
    ],
)
def test_thick_axis__of_the_volume_or_the_target(
    spacing: tuple[float, ...], target: tuple[float, ...], axis: int | None
) -> None:
    assert thick_axis(spacing, target) == axis


def test_resampled_shape__rounds_and_keeps_at_least_one_voxel() -> None:
    assert resampled_shape((10, 3, 1), (1, 1, 1), (2, 2, 9)) == (5, 2, 1)


@pytest.mark.parametrize(
    ("shape", "spacing", "reason"),
    [
        ((9, 9, 9), (1, 0, 1), "spacing 1 x 0 x 1 mm, target 1 x 1 x 1 mm: expected positive numbers"),
        ((9, 9, 9), (1, np.nan, 1), "expected positive numbers"),
        ((512, 512, 512), (3, 3, 3), "1536 x 1536 x 1536 voxels after resampling from 3 x 3 x 3 to 1 x 1 x 1 mm"),
    ],
)
def test_resampled_shape__refuses(shape: tuple[int, ...], spacing: tuple[float, ...], reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        resampled_shape(shape, spacing, (1, 1, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_resample__refuses_values_that_are_not_finite(value: float) -> None:
    image = np.zeros((1, 3, 3, 3))
    image[0, 1, 1, 1] = value
    for function in (resample_image, resample_to_labels):
        with pytest.raises(DecodeError, match="NaN or infinite voxels"):
            function(image, (4, 4, 4))


def test_resample_mask__refuses_other_types() -> None:
    with pytest.raises(ValueError, match="a mask of float64"):
        resample_mask(np.zeros((2, 2, 2)), (3, 3, 3))


def test_resample_image__memory_does_not_grow_with_the_channels() -> None:
    def extra(channels: int) -> int:
        image = np.zeros((channels, 48, 48, 48), np.float32)
        tracemalloc.start()
        result = resample_image(image, (56, 56, 56))
        peak = tracemalloc.get_traced_memory()[1] - result.nbytes
        tracemalloc.stop()
        return peak

    one = extra(1)
    assert extra(4) < 1.2 * one
    assert one < 4 * 56**3 * 4
