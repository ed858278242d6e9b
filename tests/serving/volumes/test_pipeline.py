"""Segmentation of a volume: equal to the steps one after another, in bounded memory."""

import tracemalloc

import numpy as np
import pytest

from medtune.serving.volumes.pipeline import Preparation, segment
from medtune.serving.volumes.resampling import resample_to_labels, thick_axis
from medtune.serving.volumes.sliding_window import predict_slabs
from medtune.serving.volumes.volume_intensity import VolumeIntensity

PATCH = (8, 8, 8)
PREPARATION = Preparation((1.0, 1.0, 2.0), (VolumeIntensity(),))


def classify(n_classes):
    """Return a network whose classes depend on the value and on the position in the window."""

    def run(windows):
        ramp = np.linspace(0, 3, windows[0, 0].size, dtype=np.float32).reshape(windows.shape[2:])
        logits = np.stack([np.cos(k + windows[:, 0] * (k + 1) + ramp) for k in range(n_classes)], axis=1)
        exponents = np.exp(4 * logits)
        return exponents / exponents.sum(axis=1, keepdims=True)

    return run


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((24, 21, 17), (1.0, 1.0, 2.0)),
        ((24, 21, 17), (0.6, 0.7, 2.0)),
        ((12, 30, 11), (2.0, 0.8, 1.5)),
        ((15, 14, 5), (1.0, 1.0, 7.0)),
    ],
)
def test_segment__equals_the_resampled_complete_volume(shape, spacing):
    data = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    image, run = PREPARATION.apply(data, spacing), classify(4)
    result = segment(image, shape, spacing, PREPARATION, run, PATCH, 0.5, 3, 2)
    slabs = predict_slabs(np.asarray(image, np.float32), run, PATCH, 0.5, 4, 2)
    complete = np.concatenate([slab for _, slab in slabs], axis=1)
    expected = complete.argmax(axis=0)
    for label in range(1, 4):
        doubt = (1 - complete.max(axis=0))[expected == label].mean()
        assert result.uncertainty[label - 1] == pytest.approx(doubt, rel=1e-5)
    if image.shape[1:] != shape:
        expected = resample_to_labels(complete.astype(np.float16), shape, thick_axis(spacing, PREPARATION.spacing))
    np.testing.assert_array_equal(result.labels, expected)
    assert set(np.unique(result.labels)) == {0, 1, 2, 3}


def test_segment__memory_does_not_grow_with_the_volume():
    """All probabilities together would need `n_classes` float16 volumes."""
    n_classes = 24

    def extra(length):
        image = np.random.default_rng(0).normal(size=(1, length, 32, 32)).astype(np.float16)
        shape = (length * 3 // 2, 48, 48)

        def run(windows):
            return np.repeat(windows, n_classes, axis=1)

        tracemalloc.start()
        segment(image, shape, (1.0, 1.0, 1.0), PREPARATION, run, PATCH, 0.0, n_classes - 1)
        peak = tracemalloc.get_traced_memory()[1] - int(np.prod(shape))
        tracemalloc.stop()
        return peak

    short, long = extra(32), extra(96)
    assert long - short < 64 * 32 * 32 * n_classes * 2 / 4
