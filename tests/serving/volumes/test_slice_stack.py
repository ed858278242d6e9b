"""Order, affine and checks of the slices of a series, against the equation of the DICOM standard."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.slice_stack import SlicePlace, sort_slices
from tests.serving.volumes.volume_files import ORIENTATIONS, grids, reoriented

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def stack(*depths: float) -> list[SlicePlace]:
    """Return axial slices at depths in mm."""
    return [SlicePlace(f"{n}.dcm", (-5.0, 7.0, depth), AXIAL, (0.5, 0.25), (4, 3)) for n, depth in enumerate(depths)]


def test_sort__axial() -> None:
    order, affine = sort_slices(stack(4, 0, 2, 6))
    assert order == [1, 2, 0, 3]
    # PixelSpacing names the distance between rows first, and rows are the second axis.
    assert np.array_equal(affine, [[-0.25, 0, 0, 5], [0, -0.5, 0, -7], [0, 0, 2, 0], [0, 0, 0, 1]])


@given(grids(), st.sampled_from(ORIENTATIONS), st.randoms(use_true_random=False))
def test_sort__any_orientation(grid, orientation, random):
    shape, affine = grid
    lps = np.diag([-1.0, -1, 1, 1]) @ reoriented(np.zeros(shape), affine, orientation)[1]
    count = 4
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    directions = tuple((lps[:3, :2] / sizes[:2]).T.ravel())
    slices = [
        SlicePlace(str(k), tuple(lps[:3] @ (0, 0, k, 1)), directions, (sizes[1], sizes[0]), (5, 6))
        for k in range(count)
    ]
    random.shuffle(slices)
    order, result = sort_slices(slices)
    names = [int(slices[index].name) for index in order]
    assert names in ([0, 1, 2, 3], [3, 2, 1, 0])
    # Each pixel is at the position that equation C.7.6.2.1-1 gives.
    for k, name in enumerate(names):
        for column, row in ((0, 0), (4, 0), (0, 5)):
            expected = np.diag([-1, -1, 1, 1]) @ lps @ (column, row, name, 1)
            assert result @ (column, row, k, 1) == pytest.approx(expected, abs=1e-9)


def test_sort__rounded_positions_are_even() -> None:
    depths = [round(k * 0.625, 2) for k in range(80)]
    _, affine = sort_slices(stack(*depths))
    assert affine[2, 2] == pytest.approx(0.625, abs=1e-3)
    sort_slices(stack(*(round(k * 0.01, 4) for k in range(9))))  # a microscope


def test_sort__a_slight_length_error_of_directions_does_not_change_the_spacing() -> None:
    slices = [replace(place, orientation=(0.9995, 0, 0, 0, 1.0004, 0)) for place in stack(0, 1, 2)]
    assert np.abs(np.diag(sort_slices(slices)[1])[:2]) == pytest.approx([0.25, 0.5])


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        (stack(0), "one slice; expected a series of at least two slices"),
        (stack(0, 1, 2, 2, 3), "two slices at one position: 2.dcm and 3.dcm"),
        (stack(0, 0), "two slices at one position"),
        (stack(0, 0, 1, 1, 2, 2), "two slices at one position"),
        (stack(0, 1, 2, 4, 5), "slices are missing: 2 mm between 2.dcm and 3.dcm, but 1 mm between most slices"),
        (stack(0, 1, 2, 3.3, 4.3), "the slices are unevenly spaced: 1 to 1.3 mm"),
        (stack(0, 1, 3), "unevenly spaced|missing"),
        (stack(*np.cumsum(np.linspace(1, 1.2, 20))), "unevenly spaced"),
    ],
)
def test_sort__refuses_positions(slices, message):
    with pytest.raises(DecodeError, match=message):
        sort_slices(slices)


def test_sort__refuses_a_tilted_gantry() -> None:
    slices = [
        replace(place, position=(-5.0, 7 + 0.3 * place.position[2], place.position[2])) for place in stack(0, 1, 2)
    ]
    with pytest.raises(DecodeError, match=r"the affine is sheared: two axes meet at 73.30 degrees"):
        sort_slices(slices)


def test_sort__refuses_one_slice_that_is_shifted_sideways() -> None:
    slices = stack(0, 1, 2, 3)
    slices[2] = replace(slices[2], position=(-4.0, 7, 2))
    with pytest.raises(DecodeError, match="unevenly spaced"):
        sort_slices(slices)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (4, 4)}, "slices of different sizes: 4 x 3 pixels in 0.dcm, 4 x 4 in 2.dcm"),
        ({"orientation": (1.0, 0, 0, 0, 0, -1)}, "slices of different orientations: 1, 0, 0, 0, 1, 0 in 0.dcm"),
        ({"spacing": (0.5, 0.26)}, "slices of different pixel spacings: 0.5, 0.25 mm in 0.dcm, 0.5, 0.26 mm in 2.dcm"),
        ({"spacing": (0.0, 0.25)}, "2.dcm: PixelSpacing is 0, 0.25 mm; expected above 0"),
        ({"spacing": (0.5, -0.25)}, "2.dcm: PixelSpacing is 0.5, -0.25 mm; expected above 0"),
    ],
)
def test_sort__refuses_mixed_slices(change, message):
    slices = stack(0, 1, 2)
    slices[2] = replace(slices[2], **change)
    with pytest.raises(DecodeError, match=message):
        sort_slices(slices)


@pytest.mark.parametrize("orientation", [(1.0, 0, 0, 1, 0, 0), (1.0, 0, 0, 0, 0, 0), (2.0, 0, 0, 0, 1, 0)])
def test_sort__refuses_directions(orientation):
    with pytest.raises(DecodeError, match="must be two perpendicular directions of length 1"):
        sort_slices([replace(place, orientation=orientation) for place in stack(0, 1, 2)])
