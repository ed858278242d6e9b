"""Values that are recorded during prediction equal those of a complete volume at any temperature."""

import numpy as np
import pytest

from medtune.serving.volumes.pipeline import Preparation, segment
from medtune.serving.volumes.volume_intensity import VolumeIntensity
from medtune.tasks.segmentation.slab_recorder import SlabRecorder

PREPARATION, PATCH = Preparation((1.0, 1.0, 1.0), (VolumeIntensity(),)), (8, 8, 8)


def run(windows):
    """Return probabilities of the background and two labels; the third label is never the most probable."""
    x = windows[:, 0]
    logits = np.stack([0 * x, 2 * x, -2 * x, np.full_like(x, -9)], axis=1)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("shape", [(18, 9, 6), (9, 18, 12)])
def test_recorder__equals_a_prediction_with_the_temperature(shape):
    draw = np.random.default_rng(0)
    image = draw.normal(size=(1, 18, 9, 6)).astype(np.float16)
    mask = draw.integers(0, 3, (18, 9, 6)).astype(np.uint8)
    recorder = SlabRecorder(mask, 3)
    arguments = (image, shape, (1, 1, 1), PREPARATION, run, PATCH, 0.5, 3)
    found = recorder.result(segment(*arguments, on_slab=recorder))
    for temperature in (0.3, 1.0, 2.2):
        expected = segment(*arguments, temperature=temperature)
        assert np.array_equal(found.labels, expected.labels)
        assert found.uncertainty_at(temperature) == pytest.approx(expected.uncertainty, abs=2e-6, nan_ok=True)
        assert np.isnan(found.uncertainty_at(temperature)[2])
    assert found.uncertainty_at(1.0) == found.uncertainty
    assert np.array_equal(found.voxels.truth, mask.ravel())  # the volume is smaller than a sample
    inputs = image.reshape(1, 1, -1, 1, 1).astype(np.float32)
    np.testing.assert_allclose(found.voxels.probabilities, run(inputs)[0, :, :, 0, 0].T, atol=1e-5)
