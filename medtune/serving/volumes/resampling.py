"""Resampling of volumes to another spacing and back, identical for training and prediction.

Images are interpolated with cubic splines, and masks and class probabilities linearly. Along a thick axis, the nearest
voxel is taken (Isensee et al., nnU-Net, Nature Methods 18:203, 2021). The field of view does not change: with n old
and m new voxels, new voxel i has its center at the old index (i + 1/2) n / m - 1/2. Volumes continue outside with
their edge voxels. No low-pass filter is applied, as in nnU-Net.
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
_EQUAL = 1e-3


def resampled_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> Shape:
    """Return the number of voxels per axis after resampling.

    Args:
        shape: voxels per axis.
        spacing: spacing in mm.
        target: new spacing in mm. The resulting spacing deviates slightly, because the field of view does not change.

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
    """Return the axis of thick slices, in the original volume or otherwise in the target.

    Resampling back uses the same axis: do not exchange the arguments.

    Args:
        spacing: spacing of the original volume in mm.
        target: spacing of the training volumes in mm.

    Returns:
        The axis whose spacing exceeds `THICK_RATIO` times the smallest. None if no axis or more than one is thick.
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
    """Resample class probabilities linearly and select the most probable class, with two classes in memory.

    Args:
        probabilities: (K, X, Y, Z), K at most 256.
        shape: voxels per axis of the result.
        thick: axis from `thick_axis`.

    Returns:
        uint8 (*shape). The lowest of equally probable classes.

    Raises:
        DecodeError: a probability is NaN or infinite.
    """
    scores = (interpolate(finite_values(values), shape, "linear", thick) for values in probabilities)
    return _most_probable(enumerate(scores), shape)


def resample_mask(mask: np.ndarray, shape: Shape, thick: int | None = None) -> np.ndarray:
    """Resample a mask: interpolate the indicator of each label linearly and select the largest.

    Args:
        mask: uint8 (X, Y, Z).
        shape: voxels per axis of the result.
        thick: axis from `thick_axis`.

    Returns:
        uint8 (*shape). The lowest of equally probable labels.

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
