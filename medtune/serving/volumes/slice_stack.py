"""Geometry of a DICOM series: slices sorted along their normal, and one affine for all of them.

DICOM world axes are LPS. The center of the first pixel is at ImagePositionPatient. ImageOrientationPatient names the
directions in which the column index and the row index increase. PixelSpacing names the distance between rows first,
then the distance between columns (DICOM PS3.3, C.7.6.2.1.1). Equation C.7.6.2.1-1 gives the affine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.geometry import MAX_SHEAR, Floats, check_affine, format_numbers

# Largest deviation of a slice from an evenly spaced stack, as a fraction of the distance between slices. Scanners round
# positions to 0.01 mm. A deviation up to `ROUNDING_MM` is therefore accepted too, up to `ROUNDING_DEVIATION`.
MAX_DEVIATION = 0.02
ROUNDING_MM = 0.02
ROUNDING_DEVIATION = 0.1
# Largest difference between the directions of slices. Pixel spacings may differ by this fraction.
_SAME = 1e-4
# A slice is missing if a distance is above this many usual distances.
_MISSING = 1.5


@dataclass(frozen=True)
class SlicePlace:
    """Place of a slice in space, as its DICOM header states it.

    Attributes:
        name: name of the file.
        position: ImagePositionPatient, (3,) in mm, LPS.
        orientation: ImageOrientationPatient, (6,), two directions.
        spacing: PixelSpacing, (2,) in mm: the distance between rows, then between columns.
        shape: number of columns and rows.
    """

    name: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    shape: tuple[int, int]


def sort_slices(slices: Sequence[SlicePlace]) -> tuple[list[int], Floats]:
    """Sort slices along their normal and compute the affine of the stack.

    Args:
        slices: all slices of a series, in any order.

    Returns:
        Indices of the slices in sorted order, and the affine float64 (4, 4). The affine maps (column, row, sorted
        slice) to RAS mm.

    Raises:
        DecodeError: there are fewer than two slices, or their orientations, pixel spacings or sizes differ. Or slices
            are doubled, missing, unevenly spaced or shifted sideways (a tilted gantry).
    """
    if len(slices) < 2:
        raise DecodeError("one slice; expected a series of at least two slices")
    first = slices[0]
    _check_equal(slices)
    across, down = _directions(first)
    normal = np.cross(across, down)
    positions = np.array([place.position for place in slices], np.float64)
    depths = positions @ normal
    order = np.argsort(depths, kind="stable").tolist()
    step = _check_steps([slices[index].name for index in order], positions[order], depths[order])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = across * first.spacing[1], down * first.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, positions[order[0]]
    affine[:2] *= -1  # LPS to RAS
    check_affine(affine)
    return order, affine


def _check_equal(slices: Sequence[SlicePlace]) -> None:
    """Check that all slices have the orientation, pixel spacing and size of the first one."""
    first = slices[0]
    for place in slices:
        if min(place.spacing) <= 0:
            raise DecodeError(f"{place.name}: PixelSpacing is {format_numbers(place.spacing)} mm; expected above 0")
        if place.shape != first.shape:
            raise DecodeError(
                f"slices of different sizes: {first.shape[0]} x {first.shape[1]} pixels in {first.name}, "
                f"{place.shape[0]} x {place.shape[1]} in {place.name}"
            )
        if not np.allclose(place.orientation, first.orientation, rtol=0, atol=_SAME):
            raise DecodeError(
                f"slices of different orientations: {format_numbers(first.orientation)} in {first.name}, "
                f"{format_numbers(place.orientation)} in {place.name}"
            )
        if not np.allclose(place.spacing, first.spacing, rtol=_SAME, atol=0):
            raise DecodeError(
                f"slices of different pixel spacings: {format_numbers(first.spacing)} mm in {first.name}, "
                f"{format_numbers(place.spacing)} mm in {place.name}"
            )


def _directions(place: SlicePlace) -> tuple[Floats, Floats]:
    """Return the directions in which the column index and the row index increase, (3,) each, of length 1."""
    directions = np.array(place.orientation).reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1)
    if np.abs(lengths - 1).max() > MAX_SHEAR or abs(directions[0] @ directions[1]) > MAX_SHEAR:
        raise DecodeError(f"{place.name}: ImageOrientationPatient must be two perpendicular directions of length 1")
    across, down = directions / lengths[:, None]
    return across, down


def _check_steps(names: list[str], positions: Floats, depths: Floats) -> Floats:
    """Check that sorted slices are evenly spaced.

    Args:
        names: names of the files.
        positions: (n, 3) in mm.
        depths: (n,) positions along the normal in mm, ascending.

    Returns:
        The vector from one slice to the next, (3,) in mm.

    Raises:
        DecodeError: slices are doubled, missing or unevenly spaced.
    """
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    tolerance = max(MAX_DEVIATION * usual, min(ROUNDING_MM, ROUNDING_DEVIATION * usual))
    if gaps[closest := int(np.argmin(gaps))] <= tolerance:
        raise DecodeError(
            f"two slices at one position: {names[closest]} and {names[closest + 1]}. Keep one echo, time point or "
            "reconstruction per folder"
        )
    if gaps[widest := int(np.argmax(gaps))] > _MISSING * usual:
        raise DecodeError(
            f"slices are missing: {gaps[widest]:g} mm between {names[widest]} and {names[widest + 1]}, but "
            f"{usual:g} mm between most slices"
        )
    step: Floats = (positions[-1] - positions[0]) / (len(positions) - 1)
    expected = positions[0] + np.arange(len(positions))[:, None] * step
    if float(np.linalg.norm(positions - expected, axis=1).max()) > tolerance:
        raise DecodeError(
            f"the slices are unevenly spaced: {gaps.min():g} to {gaps.max():g} mm. Resample the series to even spacing"
        )
    return step
