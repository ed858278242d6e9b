import numpy as np
import pytest

from examples.pretraining.textures import TEXTURES, render


def test_textures__are_many_and_named_once():
    assert len(TEXTURES) >= 20
    assert len(set(TEXTURES)) == len(TEXTURES)


@pytest.mark.parametrize("name", TEXTURES)
def test_texture__is_a_picture_and_repeats(name):
    first, second = (render(name, 64, (5, seed)) for seed in range(2))
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert first.std() > 2
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, render(name, 64, (5, 0)))
