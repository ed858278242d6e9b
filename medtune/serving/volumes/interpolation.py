"""Separable interpolation of volumes with linear functions or cubic splines.

Along each axis, new voxels are weighted sums of old voxels. The splines equal order 3 of scipy.ndimage with mode
`nearest`. The interpolation of samples s with the cubic B-spline β is Σ_j s_j η(x - j), with the kernel
η(x) = √3 Σ_k z^|k| β(x - k) and z = √3 - 2 (Unser, IEEE Signal Processing Magazine 16:22, 1999).

Linear interpolation computes each new voxel from two old ones, with one product and sum per voxel. Its result does not
depend on how many voxels are interpolated together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

_POLE = math.sqrt(3) - 2
# Largest distance in voxels with a weight. Farther away, the kernel η is below 1e-7.
_SPLINE_RADIUS = 14
# New voxels per matrix product. Old voxels without weight for these new voxels are skipped.
_BLOCK = 32


@dataclass(frozen=True)
class Taps:
    """The old voxels that determine each new voxel along an axis: `low` times `first` plus `high` times `second`.

    Attributes:
        first: (new,) index of an old voxel, ascending.
        second: (new,) index of the same or of the next old voxel.
        low: float32 (new,) weight of `first`.
        high: float32 (new,) weight of `second`; None if each new voxel equals the voxel `first`.
    """

    first: np.ndarray
    second: np.ndarray
    low: np.ndarray
    high: np.ndarray | None

    @classmethod
    def linear(cls, old: int, new: int) -> "Taps":
        """Return the taps of linear interpolation from `old` to `new` voxels."""
        weights, rows = _weights(old, new, _hat, 1), np.arange(new)
        first = (weights > 0).argmax(axis=1)
        second = np.minimum(first + 1, old - 1)
        high = np.where(second > first, weights[rows, second], np.float32(0))
        return cls(first, second, weights[rows, first], high)

    @classmethod
    def nearest(cls, old: int, new: int) -> "Taps":
        """Return the taps of the nearest voxel. Of two equally near voxels, the one with the higher index counts."""
        first = (2 * np.arange(new) + 1) * old // (2 * new)
        return cls(first, first, np.ones(new, np.float32), None)

    def apply(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Interpolate float32 values along an axis."""
        result = values.take(self.first, axis)
        if self.high is not None:
            column = (-1, *(1,) * (values.ndim - 1 - axis))
            result *= self.low.reshape(column)
            upper = values.take(self.second, axis)
            upper *= self.high.reshape(column)
            result += upper
        return result


def axis_order(old: Sequence[int], new: Sequence[int]) -> list[int]:
    """Return the order in which the three axes are interpolated. The axis that shrinks most is first."""
    return sorted(range(3), key=lambda axis: new[axis] / old[axis])


def interpolate(
    values: np.ndarray, shape: tuple[int, int, int], method: Literal["linear", "cubic"], thick: int | None
) -> np.ndarray:
    """Interpolate one channel at the voxel centers of a new grid with the same borders.

    The memory holds `values` and the results of two axes.

    Args:
        values: float32 (X, Y, Z), finite.
        shape: voxels per axis of the result.
        method: interpolation along all axes except `thick`.
        thick: axis along which the nearest voxel is taken; None for no axis.

    Returns:
        float32 (*shape). `values` itself if it has this shape.
    """
    for axis in axis_order(values.shape, shape):
        old, new = values.shape[axis], shape[axis]
        if old == new:
            continue
        if axis == thick:
            values = Taps.nearest(old, new).apply(values, axis)
        elif method == "linear":
            values = Taps.linear(old, new).apply(values, axis)
        else:
            values = _apply(_weights(old, new, _spline, _SPLINE_RADIUS), values, axis)
    return values


def _weights(old: int, new: int, kernel: Callable[[np.ndarray], np.ndarray], radius: int) -> np.ndarray:
    """Return float32 (new, old): each row has the weights of the old voxels for one new voxel, with sum 1."""
    centers = (np.arange(new)[:, None] + 0.5) * (old / new) - 0.5
    taps = np.floor(centers) + np.arange(1 - radius, radius + 1)
    weights = np.zeros((new, old))
    np.add.at(weights, (np.arange(new)[:, None], np.clip(taps, 0, old - 1).astype(int)), kernel(centers - taps))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _apply(weights: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """Return the product of the weights (new, old) and the values along an axis."""
    shape = values.shape
    # Along the last axis, the weights are on the right, because many products with one column would be slow.
    folded = values.reshape(-1, shape[2]) if axis == 2 else values.reshape(math.prod(shape[:axis]), shape[axis], -1)
    blocks = []
    for first in range(0, len(weights), _BLOCK):
        rows = weights[first : first + _BLOCK]
        used = np.flatnonzero(rows.any(axis=0))
        columns = slice(used[0], used[-1] + 1)
        block = rows[:, columns]
        blocks.append(folded[:, columns] @ block.T if axis == 2 else np.matmul(block, folded[:, columns]))
    return np.concatenate(blocks, axis=1).reshape(*shape[:axis], len(weights), *shape[axis + 1 :])


def _hat(x: np.ndarray) -> np.ndarray:
    """Return the kernel of linear interpolation at the distances x in voxels."""
    return np.asarray(np.maximum(0, 1 - np.abs(x)))


def _spline(x: np.ndarray) -> np.ndarray:
    """Return η(x), the kernel of interpolation with cubic B-splines."""
    shifts = range(-_SPLINE_RADIUS - 2, _SPLINE_RADIUS + 3)
    return np.asarray(math.sqrt(3) * sum(_POLE ** abs(k) * _b_spline(x - k) for k in shifts))


def _b_spline(x: np.ndarray) -> np.ndarray:
    """Return the cubic B-spline β(x), which is 0 from a distance of 2 on."""
    distance = np.abs(x)
    outer = np.maximum(2 - distance, 0) ** 3 / 6
    return np.asarray(np.where(distance < 1, 2 / 3 - distance**2 * (2 - distance) / 2, outer))
