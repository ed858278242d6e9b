"""Removal of connected components from label maps: all except the largest of a label, or all small components.

A run is a sequence of voxels of one label along the last axis. Runs that touch belong to one component. Union-find
assigns runs to components. A volume has far fewer runs than voxels.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

# Voxels are connected by their 6 faces, or by their 26 faces, edges and corners.
Neighborhood = Literal[6, 26]

_BACKGROUND = 0
_ROUNDING = 1e-6
# A line is a row of voxels along the last axis. Offsets (x, y) lead from a line to its neighbors later in the array, so
# that each pair of lines occurs once.
_LINES = {6: ((0, 1), (1, 0)), 26: ((0, 1), (1, -1), (1, 0), (1, 1))}


@dataclass(frozen=True)
class _Runs:
    """The runs of a mask, in the order of the array.

    Attributes:
        line: index of the run's line, x * Y + y.
        start: index of the first voxel along the last axis.
        end: index after the last voxel.
        component: number of the run's component, from 0, in the order of first voxels.
        count: number of components.
    """

    line: np.ndarray
    start: np.ndarray
    end: np.ndarray
    component: np.ndarray
    count: int

    @property
    def sizes(self) -> np.ndarray:
        """Voxels of each component, int64 (count,)."""
        sizes = np.zeros(self.count, np.int64)
        np.add.at(sizes, self.component, self.end - self.start)
        return sizes

    def voxels(self, selected: np.ndarray, length: int) -> np.ndarray:
        """Return the flat indices of the voxels of selected runs.

        Args:
            selected: bool, one per run.
            length: voxels along the last axis.

        Returns:
            int64, ascending.
        """
        lengths = (self.end - self.start)[selected]
        firsts = (self.line * length + self.start)[selected]
        offsets = np.repeat(firsts - np.cumsum(lengths) + lengths, lengths)
        return np.asarray(offsets + np.arange(lengths.sum()))


def keep_largest(labels: np.ndarray, which: Iterable[int], neighborhood: Neighborhood) -> np.ndarray:
    """Set all components of a label except the largest one to background.

    Args:
        labels: uint8 (X, Y, Z), 0 is background.
        which: labels to process. Other labels remain.
        neighborhood: 6 or 26 neighbors of a voxel.

    Returns:
        uint8 (X, Y, Z). Among components of equal size, the one with the first voxel remains.

    Raises:
        ValueError: the neighborhood is unknown, or `which` contains the background.
    """
    result = labels.copy()
    for label in which:
        box = _bounding_box(labels, label)
        runs = _find_runs(labels[box] == label, neighborhood)
        if runs.count > 1:
            _clear(result, box, runs, np.arange(runs.count) != runs.sizes.argmax())
    return result


def remove_small(
    labels: np.ndarray,
    which: Iterable[int],
    min_volume_mm3: float,
    spacing: Sequence[float],
    neighborhood: Neighborhood,
) -> np.ndarray:
    """Set components below a minimum volume to background.

    Args:
        labels: uint8 (X, Y, Z), 0 is background.
        which: labels to process. Other labels remain.
        min_volume_mm3: smallest volume of a component that remains, in mm3.
        spacing: spacing of `labels` in mm.
        neighborhood: 6 or 26 neighbors of a voxel.

    Returns:
        uint8 (X, Y, Z).

    Raises:
        ValueError: the neighborhood is unknown, or `which` contains the background.
    """
    result, min_voxels = labels.copy(), min_volume_mm3 / math.prod(spacing) * (1 - _ROUNDING)
    for label in which:
        box = _bounding_box(labels, label)
        runs = _find_runs(labels[box] == label, neighborhood)
        _clear(result, box, runs, runs.sizes < min_voxels)
    return result


def _bounding_box(labels: np.ndarray, label: int) -> tuple[slice, ...]:
    """Return the smallest box that contains a label; an empty box if the label does not occur."""
    if label == _BACKGROUND:
        raise ValueError("components of the background: expected labels from 1 on")
    mask = labels == label
    box = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(used[0], used[-1] + 1) if len(used) else slice(0, 0))
    return tuple(box)


def _clear(labels: np.ndarray, box: tuple[slice, ...], runs: _Runs, removed: np.ndarray) -> None:
    """Set the removed components in a box to background, in place."""
    part = labels[box]
    indices = runs.voxels(removed[runs.component], part.shape[2])
    part[np.unravel_index(indices, part.shape)] = _BACKGROUND


def _find_runs(mask: np.ndarray, neighborhood: Neighborhood) -> _Runs:
    """Return the runs of a boolean mask (X, Y, Z) and the component of each run."""
    if neighborhood not in _LINES:
        raise ValueError(f"neighborhood {neighborhood}: expected 6 or 26")
    width, depth, length = mask.shape
    lines = np.zeros((width * depth, length + 2), np.int8)
    lines[:, 1:-1] = mask.reshape(width * depth, length)
    changes = np.diff(lines, axis=1)
    # The starts and the ends have one entry per run, in the same order.
    (line, start), end = np.nonzero(changes == 1), np.nonzero(changes == -1)[1]
    pairs = [_touching(line, start, end, offset, mask.shape, neighborhood) for offset in _LINES[neighborhood]]
    one, two = (np.concatenate(side) for side in zip(*pairs, strict=True))
    roots, component = np.unique(_unite(len(line), one, two), return_inverse=True)
    return _Runs(line, start, end, component, len(roots))


def _touching(
    line: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    offset: tuple[int, int],
    shape: tuple[int, ...],
    neighborhood: Neighborhood,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of touching runs in all pairs of lines with an offset (x, y), as two arrays of run numbers."""
    _, depth, length = shape
    inside = (line % depth + offset[1] >= 0) & (line % depth + offset[1] < depth)
    runs = np.flatnonzero(inside)
    reach = int(neighborhood == 26)  # with 26 neighbors, diagonal voxels touch
    stride = length + 4  # each line has its own range of positions
    base = (line[runs] + offset[0] * depth + offset[1]) * stride + 1
    # Touching runs of the other line end after this run starts, and start before it ends.
    first = np.searchsorted(line * stride + 1 + end, base + start[runs] - reach, side="right")
    last = np.searchsorted(line * stride + 1 + start, base + end[runs] + reach, side="left")
    counts = np.maximum(last - first, 0)
    others = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    return np.repeat(runs, counts), others


def _unite(count: int, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Unite the sets of each pair (one, two), and return the smallest element of each element's set, (count,)."""
    parent = np.arange(count)
    while True:
        roots = parent[one], parent[two]
        low, high = np.minimum(*roots), np.maximum(*roots)
        if np.array_equal(low, high):
            return parent
        np.minimum.at(parent, high, low)
        while not np.array_equal(parent, shorter := parent[parent]):
            parent = shorter
