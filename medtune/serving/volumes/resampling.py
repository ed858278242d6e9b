"""Resampling of volumes to another spacing and back, identical for training and prediction.

Images are interpolated with cubic splines, and masks and class probabilities linearly. Along a thick axis, the nearest
voxel is taken (Isensee et al., nnU-Net, Nature Methods 18:203, 2021). The field of view does not change: with n old
and m new voxels, new voxel i has its center at the old index (i + 1/2) n / m - 1/2. Outside of a volume, the edge
voxels are repeated. No low-pass filter is applied, as in nnU-Net.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.interpolation import interpolate

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]

# Above this ratio of the largest to the smallest spacing, slices are too thick for interpolation between them.
THICK_RATIO = 3.0
MAX_VOXELS = 2**31
_EQUAL = 1e-3  # fraction by which equal spacings may differ


def resampled_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> Shape:
    """Return the number of voxels per axis after resampling.

    Args:
        shape: voxels per axis.
        spacing: spacing per axis in mm.
        target: new spacing per axis in mm. The result has about this spacing, because the field of view stays equal.

    Returns:
        Rounded number of voxels, at least 1 per axis.

    Raises:
        DecodeError: a spacing is not positive, or the result exceeds `MAX_VOXELS`.
    """
    if not all(0 < value < math.inf for value in (*spacing, *target)):
        raise DecodeError(f"spacing {_show(spacing)} mm, target {_show(target)} mm: expected positive numbers")
    x, y, z = (max(1, round(n * old / new)) for n, old, new in zip(shape, spacing, target, strict=True))
    if x * y * z > MAX_VOXELS:
        raise DecodeError(
            f"{x} x {y} x {z} voxels after resampling from {_show(spacing)} to {_show(target)} mm; at most "
            f"{MAX_VOXELS:,} are supported"
        )
    return x, y, z


def thick_axis(spacing: Sequence[float], target: Sequence[float]) -> int | None:
    """Return the axis of thick slices of the original volume. If it has no thick slices, return that of the target.

    Resampling back needs the same axis, from the same arguments in the same order.

    Args:
        spacing: spacing per axis of the original volume in mm.
        target: spacing per axis of the training volumes in mm.

    Returns:
        The axis with the largest spacing, if it is above `THICK_RATIO` times the smallest. None if no axis is thick, or
        if two axes have the largest spacing.
    """
    for candidate in (spacing, target):
        largest = max(candidate)
        if largest > THICK_RATIO * min(candidate):
            thick = [axis for axis, value in enumerate(candidate) if value >= largest * (1 - _EQUAL)]
            return thick[0] if len(thick) == 1 else None
    return None


def resample_image(image: np.ndarray, shape: Shape, thick: int | None = None) -> np.ndarray:
    """Resample an image with cubic splines.

    Args:
        image: (C, X, Y, Z).
        shape: voxels per axis of the result.
        thick: axis from `thick_axis`.

    Returns:
        float32 (C, *shape). Each channel keeps within its original range of values.

    Raises:
        DecodeError: a voxel is NaN or infinite.
    """
    result = np.empty((len(image), *shape), np.float32)
    for channel, target in zip(image, result, strict=True):
        values = finite_values(channel)
        np.clip(interpolate(values, shape, "cubic", thick), values.min(), values.max(), out=target)
    return result


def resample_to_labels(probabilities: np.ndarray, shape: Shape, thick: int | None = None) -> np.ndarray:
    """Resample class probabilities linearly and select the most probable class.

    Args:
        probabilities: (K, X, Y, Z), K at most 256.
        shape: voxels per axis of the result.
        thick: axis from `thick_axis`.

    Returns:
        uint8 (*shape). A voxel gets the lowest of equally probable classes.

    Raises:
        DecodeError: a probability is NaN or infinite.
    """
    scores = (interpolate(finite_values(values), shape, "linear", thick) for values in probabilities)
    return _most_probable(enumerate(scores), shape)


def resample_mask(mask: np.ndarray, shape: Shape, thick: int | None = None) -> np.ndarray:
    """Resample a mask: interpolate each label as an array of 0 and 1 linearly, and select the largest value.

    Args:
        mask: uint8 (X, Y, Z).
        shape: voxels per axis of the result.
        thick: axis from `thick_axis`.

    Returns:
        uint8 (*shape). A voxel gets the lowest of labels with equal values.

    Raises:
        ValueError: the mask is not uint8.
    """
    if mask.dtype != np.uint8:
        raise ValueError(f"a mask of {mask.dtype}: expected uint8")
    present = np.zeros(256, bool)
    for plane in mask:
        present[plane.ravel()] = True
    labels = np.flatnonzero(present).tolist()
    return _most_probable(
        ((label, interpolate((mask == label).astype(np.float32), shape, "linear", thick)) for label in labels), shape
    )


def _most_probable(scores: Iterable[tuple[int, np.ndarray]], shape: Shape) -> np.ndarray:
    """Return the label with the largest score of each voxel, from pairs of ascending labels and their scores."""
    best, labels = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.uint8)
    for label, score in scores:
        labels[score > best] = label
        np.maximum(best, score, out=best)
    return labels


def finite_values(values: np.ndarray) -> np.ndarray:
    """Return the values as a contiguous float32 array; raise DecodeError if a value is NaN or infinite."""
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(values.min()) or not np.isfinite(values.max()):
        raise DecodeError("NaN or infinite voxels")
    return values


def _show(spacing: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in spacing)
