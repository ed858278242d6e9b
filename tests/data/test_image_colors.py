"""Colors of normalized images."""

import numpy as np
import pytest

from medtune.data.image_colors import restore_colors
from medtune.serving.volumes.training_range import quantiles_of


@pytest.mark.parametrize(("white", "tolerance"), [(255, 1), (4095, 12)])
def test_restore_colors__undoes_the_normalization_of_each_channel(white, tolerance):
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, white + 1, (3, 20, 30, 1)) * np.array([1.0, 0.6, 0.2]).reshape(3, 1, 1, 1)
    normalized = (pixels - pixels.mean(axis=(1, 2, 3), keepdims=True)) / pixels.std(axis=(1, 2, 3), keepdims=True)
    found = restore_colors(normalized.astype(np.float16), quantiles_of(pixels))
    assert (found.dtype, found.shape) == (np.uint8, (20, 30, 1, 3))
    expected = np.moveaxis(pixels, 0, -1) * 255 / white
    assert np.abs(found - expected).max() <= tolerance


def test_restore_colors__keeps_a_constant_channel():
    pixels = np.full((3, 4, 4, 1), 200.0)
    assert (restore_colors(np.zeros_like(pixels), quantiles_of(pixels)) == 200).all()
