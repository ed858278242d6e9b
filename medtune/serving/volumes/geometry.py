"""Geometry of voxel grids: orientation to RAS and its exact inverse, spacing, and checks of affines.

An affine (4, 4) maps voxel indices to world coordinates in mm. The world axes are RAS: x increases to the patient's
right, y to the front (anterior) and z to the head (superior). An orientation such as `LPS` names, for each array axis,
the direction in which the index increases. An oblique grid has the orientation of the nearest world axes. Its rotation
stays in the affine, so reorientation never interpolates.
"""

import numpy as np
import numpy.typing as npt

from medtune.serving.pixels import DecodeError

Floats = npt.NDArray[np.float64]
# Largest cosine of the angle between two axes. Rounded direction cosines in real files stay far below.
MAX_SHEAR = 1e-3
# Two grids are the same if the positions of each corner voxel are at most this far apart.
GRID_TOLERANCE_MM = 1e-3
_DIRECTIONS = ("LR", "PA", "IS")  # negative and positive direction of each world axis


def spacing(affine: Floats) -> Floats:
    """Return the distance between voxel centers along each array axis in mm, (3,)."""
    distances: Floats = np.linalg.norm(np.asarray(affine, np.float64)[:3, :3], axis=0)
    return distances


def check_affine(affine: Floats) -> None:
    """Check that an affine describes a grid of boxes in space.

    Args:
        affine: (4, 4), voxel indices to mm.

    Raises:
        DecodeError: a value is NaN or infinite, or the affine is singular or sheared.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise DecodeError("the affine is not a 4 x 4 matrix of finite numbers")
    if not np.array_equal(affine[3], (0, 0, 0, 1)):
        raise DecodeError(f"the last row of the affine is {affine[3].tolist()}; expected 0, 0, 0, 1")
    distances = spacing(affine)
    if distances.min() <= 0 or not np.isfinite(distances).all():
        raise DecodeError(f"the affine is singular: the spacing is {format_numbers(distances)} mm")
    directions = affine[:3, :3] / distances
    if abs(np.linalg.det(directions)) < MAX_SHEAR:
        raise DecodeError("the affine is singular: its axes lie in one plane")
    cosine = float(np.abs(np.triu(directions.T @ directions, 1)).max())
    if cosine > MAX_SHEAR:
        angle = np.degrees(np.arccos(min(cosine, 1.0)))
        raise DecodeError(
            f"the affine is sheared: two axes meet at {angle:.2f} degrees. Resample the volume to a rectangular grid"
        )


def orientation_of(affine: Floats) -> str:
    """Return the orientation of the nearest world axes, for example `LPS`. The affine must pass `check_affine`."""
    from nibabel.orientations import io_orientation

    # nibabel assigns each world axis only once, even if an array axis lies at 45 degrees between two world axes.
    rows = io_orientation(affine)
    return "".join(_DIRECTIONS[int(axis)][int(sign > 0)] for axis, sign in rows)


def to_ras(array: np.ndarray, orientation: str) -> np.ndarray:
    """Reorient an array to RAS without interpolation.

    Args:
        array: (..., X, Y, Z) in `orientation`.
        orientation: orientation of the array's last three axes.

    Returns:
        A view of the array in RAS, (..., X, Y, Z).
    """
    axes, reversed_axes = _decompose(orientation)
    first = array.ndim - 3
    ordered = array.transpose(*range(first), *(first + axis for axis in axes))
    return _flip(ordered, [reversed_axes[axis] for axis in axes])


def from_ras(array: np.ndarray, orientation: str) -> np.ndarray:
    """Reorient an array from RAS without interpolation. This is the exact inverse of `to_ras`.

    Args:
        array: (..., X, Y, Z) in RAS.
        orientation: requested orientation of the last three axes.

    Returns:
        A view of the array in `orientation`, (..., X, Y, Z).
    """
    axes, reversed_axes = _decompose(orientation)
    first = array.ndim - 3
    flipped = _flip(array, [reversed_axes[axis] for axis in axes])
    return flipped.transpose(*range(first), *(first + axes.index(axis) for axis in range(3)))


def ras_shape(shape: tuple[int, int, int], orientation: str) -> tuple[int, int, int]:
    """Return the shape (X, Y, Z) in RAS of an array that has `shape` in `orientation`."""
    x, y, z = (shape[axis] for axis in _decompose(orientation)[0])
    return x, y, z


def ras_affine(affine: Floats, shape: tuple[int, int, int], orientation: str) -> Floats:
    """Compute the affine of an array after `to_ras`. Each voxel keeps its world coordinates.

    Args:
        affine: (4, 4), indices of the array in `orientation` to mm.
        shape: shape of the array in `orientation`.
        orientation: orientation of the array.

    Returns:
        float64 (4, 4), indices of the array in RAS to mm.
    """
    axes, reversed_axes = _decompose(orientation)
    result = np.eye(4)
    result[:, 3] = affine[:, 3]
    for world, axis in enumerate(axes):
        column = affine[:, axis]
        result[:, world] = -column if reversed_axes[axis] else column
        if reversed_axes[axis]:
            result[:, 3] += column * (shape[axis] - 1)
    return result


def check_same_grid(
    shape: tuple[int, int, int], affine: Floats, other_shape: tuple[int, int, int], other_affine: Floats, other: str
) -> None:
    """Check that a grid equals the grid of another file. Both are in RAS.

    Args:
        shape: shape of the grid.
        affine: (4, 4) affine of the grid.
        other_shape: shape of the other file's grid.
        other_affine: (4, 4) affine of the other file's grid.
        other: name of the other file.

    Raises:
        DecodeError: the shapes differ, or the two positions of a voxel are more than `GRID_TOLERANCE_MM` apart.
    """
    if tuple(shape) != tuple(other_shape):
        raise DecodeError(f"the shape is {format_shape(shape)}, but {other} has {format_shape(other_shape)} (in RAS)")
    corners = np.stack(np.meshgrid(*((0, size - 1) for size in shape), indexing="ij"), -1).reshape(-1, 3)
    points = np.c_[corners, np.ones(len(corners))]
    distance = float(np.linalg.norm(points @ (affine - other_affine).T, axis=1).max())
    if not distance <= GRID_TOLERANCE_MM:
        raise DecodeError(
            f"the affine differs from the affine of {other}: the same voxel is {distance:.4g} mm apart; "
            f"at most {GRID_TOLERANCE_MM:g} mm is accepted"
        )


def format_shape(shape: tuple[int, ...]) -> str:
    """Format a shape as text: `64 x 64 x 30`."""
    return " x ".join(str(size) for size in shape)


def format_numbers(values: npt.ArrayLike) -> str:
    """Format numbers as text: `0.5, 0.5, 3`."""
    return ", ".join(f"{value:g}" for value in np.asarray(values, np.float64).ravel())


def _flip(array: np.ndarray, is_reversed: list[bool]) -> np.ndarray:
    """Return a view of the array with some of its last three axes reversed."""
    x, y, z = (slice(None, None, -1 if flip else 1) for flip in is_reversed)
    return array[..., x, y, z]


def _decompose(orientation: str) -> tuple[list[int], list[bool]]:
    """Return the array axis of each world axis, and True for each array axis that must be reversed."""
    worlds = [next((w for w, pair in enumerate(_DIRECTIONS) if letter in pair), -1) for letter in orientation]
    if sorted(worlds) != [0, 1, 2]:
        raise ValueError(f"orientation {orientation!r}: expected one letter each of LR, PA and IS")
    reversed_axes = [letter == _DIRECTIONS[world][0] for letter, world in zip(orientation, worlds, strict=True)]
    return [worlds.index(world) for world in range(3)], reversed_axes
