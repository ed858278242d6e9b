"""Connected components: equal to scipy.ndimage.label."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medtune.serving.volumes.components import Neighborhood, _find_runs, keep_largest, remove_small

STRUCTURES = {6: scipy.ndimage.generate_binary_structure(3, 1), 26: np.ones((3, 3, 3))}
SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=8)
MASKS = hnp.arrays(bool, SHAPES)
LABELS = hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 2))
NEIGHBORHOODS = st.sampled_from([6, 26])


def label_components(mask: np.ndarray, neighborhood: Neighborhood) -> tuple[np.ndarray, int]:
    """Number the components of a mask (X, Y, Z) from 1, in the order of their first voxels, and count them."""
    runs = _find_runs(mask, neighborhood)
    numbers = np.zeros(mask.shape, np.int32)
    indices = runs.voxels(np.ones(len(runs.line), bool), mask.shape[2])
    numbers.reshape(-1)[indices] = np.repeat(runs.component + 1, runs.end - runs.start)
    return numbers, runs.count


@settings(max_examples=300)
@given(MASKS, NEIGHBORHOODS)
def test_runs__equals_scipy(mask: np.ndarray, neighborhood: Neighborhood) -> None:
    numbers, count = label_components(mask, neighborhood)
    expected, expected_count = scipy.ndimage.label(mask, STRUCTURES[neighborhood])
    np.testing.assert_array_equal(numbers, expected)
    assert count == expected_count
    assert numbers.dtype == np.int32


@pytest.mark.parametrize("neighborhood", [6, 26])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_runs__equals_scipy_on_larger_masks(neighborhood: Neighborhood, share: float) -> None:
    mask = np.random.default_rng(0).random((31, 40, 53)) < share
    expected, _ = scipy.ndimage.label(mask, STRUCTURES[neighborhood])
    np.testing.assert_array_equal(label_components(mask, neighborhood)[0], expected)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_runs__winding_path_is_one_component(axes: tuple[int, int, int]) -> None:
    mask = np.zeros((41, 41, 3), bool)
    mask[::2, :, 1] = True
    mask[1::4, -1, 1] = mask[3::4, 0, 1] = True
    assert label_components(mask.transpose(axes), 6)[1] == 1
    mask[1, -1, 1] = False
    assert label_components(mask.transpose(axes), 6)[1] == 2


def test_runs__neighborhoods_differ_on_a_diagonal() -> None:
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert label_components(mask, 26)[1] == 1
    assert label_components(mask, 6)[1] == 2


@settings(max_examples=150)
@given(LABELS, NEIGHBORHOODS, st.sets(st.integers(1, 3)))
def test_keep_largest__keeps_one_component_per_label(
    labels: np.ndarray, neighborhood: Neighborhood, which: set[int]
) -> None:
    before, expected = labels.copy(), labels.copy()
    for label in which:
        numbers, count = scipy.ndimage.label(labels == label, STRUCTURES[neighborhood])
        if count:
            largest = 1 + np.bincount(numbers.ravel())[1:].argmax()
            expected[(numbers > 0) & (numbers != largest)] = 0
    np.testing.assert_array_equal(keep_largest(labels, which, neighborhood), expected)
    np.testing.assert_array_equal(labels, before)


@settings(max_examples=150)
@given(LABELS, NEIGHBORHOODS, st.integers(0, 12), st.tuples(*[st.sampled_from([0.1, 0.3, 0.7, 1.0, 5.0])] * 3))
def test_remove_small__equals_scipy(
    labels: np.ndarray, neighborhood: Neighborhood, voxels: int, spacing: tuple[float, float, float]
) -> None:
    expected = labels.copy()
    for label in (1, 2):
        numbers, _ = scipy.ndimage.label(labels == label, STRUCTURES[neighborhood])
        sizes = np.bincount(numbers.ravel())
        expected[(numbers > 0) & (sizes[numbers] < voxels)] = 0
    result = remove_small(labels, (1, 2), voxels * spacing[2] * spacing[1] * spacing[0], spacing, neighborhood)
    np.testing.assert_array_equal(result, expected)


def test_remove_small__volume_depends_on_the_spacing() -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[1:3, 1:3, 1:3], labels[5, 5, 5] = 4, 4
    assert remove_small(labels, [4], 7, (1, 1, 1), 26).sum() == 4 * 8
    assert remove_small(labels, [4], 7, (2, 2, 2), 26).sum() == 4 * 9
    assert remove_small(labels, [4], 7, (0.9, 0.9, 0.9), 26).sum() == 0


def test_remove_small__volume_equal_to_the_minimum_remains() -> None:
    labels = np.array([1, 1, 1, 0, 1, 1], np.uint8).reshape(1, 1, 6)
    assert 3 * 0.343 / (0.7 * 0.7 * 0.7) > 3  # rounding
    np.testing.assert_array_equal(remove_small(labels, [1], 3 * 0.343, (0.7, 0.7, 0.7), 6).ravel(), [1, 1, 1, 0, 0, 0])


def test_components__refuse_the_background_and_other_neighborhoods() -> None:
    labels = np.ones((2, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="components of the background"):
        keep_largest(labels, [0], 6)
    with pytest.raises(ValueError, match="neighborhood 18: expected 6 or 26"):
        remove_small(labels, [1], 1, (1, 1, 1), 18)  # type: ignore[arg-type]
