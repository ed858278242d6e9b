import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medtune.serving.slides.tissue import find_tissue, is_pen, otsu

GLASS, EOSIN, NUCLEI = (242, 240, 243), (225, 150, 190), (90, 60, 140)


def canvas(color=GLASS, side=60):
    rng = np.random.default_rng(0)
    return np.clip(np.full((side, side, 3), color) + rng.normal(0, 2, (side, side, 1)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "color", [EOSIN, NUCLEI, (150, 100, 70), (150, 190, 225)], ids=["eosin", "nuclei", "dab", "blue"]
)
def test_find_tissue__detects_stained_tissue_not_glass(color):
    image = canvas()
    image[10:40, 20:50] = canvas(color)[10:40, 20:50]
    expected = np.zeros((60, 60), bool)
    expected[10:40, 20:50] = True
    assert (find_tissue(image) == expected).mean() > 0.99


@pytest.mark.parametrize("ink", [(20, 20, 25), (30, 60, 180), (30, 140, 70), (200, 40, 45), (0, 0, 0)])
def test_find_tissue__excludes_pen_marks_and_black(ink):
    image = canvas()
    image[5:20, 5:55] = ink
    image[30:50, 10:50] = canvas(EOSIN)[30:50, 10:50]
    result = find_tissue(image)
    assert not result[6:19, 6:54].any()
    assert result[31:49, 11:49].all()


@pytest.mark.parametrize(("color", "fraction"), [(GLASS, 0.0), ((235, 236, 230), 0.0), (EOSIN, 1.0)])
def test_find_tissue__uniform_images(color, fraction):
    assert find_tissue(canvas(color)).mean() == fraction


def test_is_pen__excludes_stains():
    for color in (EOSIN, NUCLEI, (60, 40, 110), (120, 70, 40), (110, 140, 190), (120, 180, 150)):
        assert not is_pen(np.full((2, 2, 3), color, np.uint8)).any()


def test_otsu__separates_two_clusters():
    values = np.concatenate([np.full(50, 0.1), np.full(20, 0.8)])
    assert 0.1 <= otsu(values) < 0.8


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))))
def test_find_tissue__returns_a_mask_for_any_image(image):
    result = find_tissue(image)
    assert result.shape == image.shape[:2]
    assert result.dtype == bool
