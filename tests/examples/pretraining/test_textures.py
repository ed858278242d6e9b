import numpy as np
import pytest

from examples.pretraining.textures import TEXTURES, render


def test_textures__have_unique_names():
    assert len(TEXTURES) >= 20
    assert len(set(TEXTURES)) == len(TEXTURES)


@pytest.mark.parametrize("name", TEXTURES)
def test_texture__is_reproducible_and_depends_on_the_seed(name):
    first, second = (render(name, 64, (5, seed)) for seed in range(2))
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert first.std() > 2
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, render(name, 64, (5, 0)))
