"""Surface voxels and the distances between them."""

import numpy as np
import pytest
from hypothesis import given

from medtune.tasks.segmentation.surface import surface_distances
from tests.tasks.segmentation import brute_force


@given(masks=brute_force.mask_pairs(), spacing=brute_force.SPACING)
def test_surface_distances__one_per_surface_voxel(masks, spacing):
    truth, prediction = (mask > 0 for mask in masks)
    truth[0, 0, 0] = prediction[-1, -1, -1] = True
    distances = surface_distances(truth, prediction, spacing)
    surfaces = brute_force.surface(truth), brute_force.surface(prediction)
    expected = brute_force.nearest(*surfaces, spacing), brute_force.nearest(*surfaces[::-1], spacing)
    np.testing.assert_allclose(np.sort(distances.from_truth), np.sort(expected[0]), atol=1e-9)
    np.testing.assert_allclose(np.sort(distances.from_prediction), np.sort(expected[1]), atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "surface_voxels"), [((4, 5, 6), 4 * 5 * 6 - 2 * 3 * 4), ((4, 5, 1), 14), ((1, 5, 1), 2), ((1, 1, 1), 1)]
)
def test_surface_distances__of_a_mask_that_fills_the_volume(shape, surface_voxels):
    full = np.ones(shape, bool)
    assert surface_distances(full, full, (1, 1, 1)).from_truth.tolist() == [0.0] * surface_voxels


def test_surface_distances__do_not_depend_on_the_size_of_the_volume():
    small = np.zeros((2, 3, 4, 5), bool)
    small[0, :2, 1:3, 1:4] = small[1, 1:, 2:, 2:] = True
    large = np.pad(small, ((0, 0), (7, 2), (3, 9), (1, 1)))
    for name in ("from_truth", "from_prediction"):
        expected = getattr(surface_distances(*small, (0.5, 1, 2)), name)
        np.testing.assert_array_equal(getattr(surface_distances(*large, (0.5, 1, 2)), name), expected)


def test_surface_distances__slab_within_one_plane_keeps_the_neighbors_of_the_volume():
    volume = np.zeros((5, 6, 3), bool)
    volume[1:4, 1:5, 1] = True  # the bounding box has one slice, but the volume has three
    assert len(surface_distances(volume, volume, (1, 1, 1)).from_truth) == 12


def test_hd95__interpolates_and_takes_the_larger_direction():
    truth, prediction = np.zeros((2, 41, 1, 1), bool)
    truth[0] = prediction[0] = prediction[10] = True
    distances = surface_distances(truth, prediction, (2, 1, 1))
    assert distances.from_truth.tolist() == [0]
    assert distances.from_prediction.tolist() == [0, 20]
    assert distances.hd95() == pytest.approx(0.95 * 20)
    assert distances.normalized(19) == pytest.approx(2 / 3)
    assert distances.normalized(20) == 1
