"""Windows of a volume: positions, Gaussian weights and padding, for training and prediction."""

import math
from collections.abc import Sequence

import numpy as np

Patch = tuple[int, int, int]  # voxels of a window along X, Y and Z

_SIGMA = 1 / 8  # standard deviation of the weights as a fraction of the window
_ROUNDING = 1e-9


def window_starts(length: int, patch: int, overlap: float) -> list[int]:
    """Return the first index of each window along an axis.

    The windows cover every voxel. Their distances are equal except for rounding. The overlap of neighbors is at least
    `overlap`.

    Args:
        length: voxels along the axis, at least `patch`.
        patch: voxels of a window.
        overlap: smallest overlap of neighbors as a fraction of the window, at least 0 and below 1.

    Returns:
        Ascending indices from 0 to `length - patch`.

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0 < patch <= length or not 0 <= overlap < 1:
        raise ValueError(f"windows of {patch} of {length} voxels with overlap {overlap:g}")
    span = length - patch
    step = max(1, math.floor(patch * (1 - overlap) + _ROUNDING))
    count = math.ceil(span / step)
    return [0, *(round(number * span / count) for number in range(1, count + 1))]


def axis_weights(patch: int) -> np.ndarray:
    """Return Gaussian weights along an axis, with sigma 1/8 of the window.

    Args:
        patch: voxels of a window.

    Returns:
        float32 (patch,), symmetric, largest in the center, and at least exp(-8).
    """
    distance = (np.arange(patch) - (patch - 1) / 2) / (patch * _SIGMA)
    return np.exp(-(distance**2) / 2).astype(np.float32)


def importance(patch: Patch) -> np.ndarray:
    """Return the weight of each voxel of a window: the product of `axis_weights`, float32 (*patch)."""
    x, y, z = map(axis_weights, patch)
    return np.asarray(x[:, None, None] * y[:, None] * z)


def pad_to_patch(volume: np.ndarray, patch: Patch) -> tuple[np.ndarray, Patch]:
    """Pad a normalized volume with zeros on both sides, to at least the size of a window.

    Args:
        volume: (C, X, Y, Z).
        patch: voxels of a window per axis.

    Returns:
        The padded volume, or `volume` itself if it is large enough. And the index of the first original voxel.
    """
    missing = [max(0, side - length) for side, length in zip(patch, volume.shape[1:], strict=True)]
    x, y, z = (total // 2 for total in missing)
    if any(missing):
        volume = np.pad(volume, [(0, 0), *((total // 2, total - total // 2) for total in missing)])
    return volume, (x, y, z)


def total_weights(starts: Sequence[int], patch: int) -> np.ndarray:
    """Return the sum of the weights of all windows along an axis.

    Args:
        starts: first index of each window.
        patch: voxels of a window.

    Returns:
        float32 (length,), positive.
    """
    total = np.zeros(starts[-1] + patch, np.float32)
    for start in starts:
        total[start : start + patch] += axis_weights(patch)
    return total
