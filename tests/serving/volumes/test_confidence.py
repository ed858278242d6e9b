"""Temperature scaling: the softmax of divided logits, and label maps that do not change."""

import numpy as np
import pytest

from medtune.serving.volumes.confidence import confidence, parse_temperature
from medtune.serving.volumes.pipeline import Preparation, segment
from medtune.serving.volumes.volume_intensity import VolumeIntensity

PREPARATION = Preparation((1.0, 1.0, 1.0), (VolumeIntensity(),))


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=0))
    return exponents / exponents.sum(axis=0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_confidence__is_that_of_the_divided_logits(temperature):
    logits = np.random.default_rng(0).normal(0, 4, (3, 4, 5, 6))
    found = confidence(softmax(logits).astype(np.float32), temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(logits / temperature).max(axis=0), rtol=1e-5)


def test_confidence__of_a_certain_voxel_is_finite():
    certain = np.zeros((3, 1, 1, 1), np.float32)
    certain[1] = 1
    assert confidence(certain, 4.0).item() == pytest.approx(1, abs=1e-6)


def noisy(windows):
    """Return probabilities that depend on the position in the window, so that overlapping windows disagree."""
    draw = np.random.default_rng(1).normal(0, 3, (3, *windows.shape[2:]))
    return softmax(np.stack([0 * windows[:, 0], 2 * windows[:, 0], windows[:, 0]]) + draw[:, None]).swapaxes(0, 1)


@pytest.mark.parametrize("shape", [(14, 9, 8), (20, 9, 8)])
def test_segment__temperature_changes_the_uncertainty_and_no_label(shape):
    image = np.random.default_rng(2).normal(size=(1, 14, 9, 8)).astype(np.float16)
    run = lambda windows: noisy(windows).astype(np.float32)  # noqa: E731
    arguments = (image, shape, (1, 1, 1), PREPARATION, run, (8, 8, 8), 0.5, 2)
    before, after = segment(*arguments), segment(*arguments, temperature=3.0)
    assert set(np.unique(before.labels)) == {0, 1, 2}
    assert np.array_equal(before.labels, after.labels)
    assert all(hot > plain + 0.05 for plain, hot in zip(before.uncertainty, after.uncertainty, strict=True))


@pytest.mark.parametrize("value", [0, -1.0, True, "1", float("nan"), float("inf"), [1]])
def test_parse_temperature__refuses(value):
    with pytest.raises(ValueError, match="expected a positive number"):
        parse_temperature(value)


def test_parse_temperature__of_older_bundles_is_1():
    assert parse_temperature(None) == 1
    assert parse_temperature(2) == 2
