"""Label maps from slabs of probabilities: equal to those of the complete probabilities, in bounded memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.label_resampling import LabelResampler
from medtune.serving.volumes.resampling import resample_to_labels

SIDE = st.integers(1, 12)
SHAPES = st.tuples(SIDE, SIDE, SIDE)
SEEDS = st.integers(0, 2**32 - 1)


def add_slabs(resampler, probabilities, rng):
    """Add the probabilities in slabs of random thickness."""
    first = 0
    while first < probabilities.shape[1]:
        last = first + int(rng.integers(1, 5))
        resampler.add(probabilities[:, first:last])
        first = last


@settings(max_examples=150)
@given(SHAPES, SHAPES, st.sampled_from([None, 0, 1, 2]), st.integers(1, 6), SEEDS)
def test_label_resampler__equals_the_complete_volume(size, shape, thick, classes, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.3), size).transpose(3, 0, 1, 2).astype(np.float16)
    resampler = LabelResampler(size, shape, thick)
    add_slabs(resampler, probabilities, rng)
    assert resampler.labels.dtype == np.uint8
    np.testing.assert_array_equal(resampler.labels, resample_to_labels(probabilities, shape, thick))


@pytest.mark.parametrize(("size", "shape"), [((40, 33, 50), (61, 47, 33)), ((61, 47, 33), (40, 33, 50))])
def test_label_resampler__equals_the_complete_volume_of_usual_size(size, shape):
    rng = np.random.default_rng(0)
    # Few different values, so that many voxels have equally probable classes.
    probabilities = rng.integers(0, 3, (4, *size)).astype(np.float16) / 2
    for thick in (None, 0, 2):
        resampler = LabelResampler(size, shape, thick)
        add_slabs(resampler, probabilities, rng)
        np.testing.assert_array_equal(resampler.labels, resample_to_labels(probabilities, shape, thick))


def test_label_resampler__equal_probabilities_give_the_lowest_label():
    resampler = LabelResampler((2, 2, 2), (3, 3, 3))
    resampler.add(np.full((4, 2, 2, 2), 0.25))
    assert not resampler.labels.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_label_resampler__refuses_values_that_are_not_finite(value):
    slab = np.zeros((2, 2, 3, 3))
    slab[1, 1, 1, 1] = value
    with pytest.raises(DecodeError, match="NaN or infinite voxels"):
        LabelResampler((2, 3, 3), (4, 4, 4)).add(slab)


def test_label_resampler__memory_does_not_grow_with_the_first_axis():
    def extra(planes: int) -> int:
        tracemalloc.start()
        resampler = LabelResampler((planes, 40, 40), (2 * planes, 60, 60))
        for _ in range(0, planes, 4):
            resampler.add(np.zeros((16, 4, 40, 40), np.float16))
        peak = tracemalloc.get_traced_memory()[1] - resampler.labels.nbytes
        tracemalloc.stop()
        return peak

    assert extra(48) < 1.2 * extra(16)
    assert extra(48) < 16 * 4 * 60 * 60 * 4 * 2  # far below the 16 volumes
