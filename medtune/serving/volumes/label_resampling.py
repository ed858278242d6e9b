"""Resampling of class probabilities to labels while the probabilities are computed, in bounded memory.

A slab is a sequence of planes along the first axis. The sliding window finishes one slab after another. A plane of the
new grid depends on at most two neighboring planes of the old grid. Complete probabilities are therefore not needed.
"""

import numpy as np

from medtune.serving.volumes.interpolation import Taps, axis_order
from medtune.serving.volumes.resampling import Shape, finite_values


class LabelResampler:
    """Label map on another grid, computed from consecutive slabs of class probabilities.

    The axes are interpolated in the order of `resample_to_labels`, with the same operations. The label map is therefore
    equal to that of `resample_to_labels` for the complete probabilities.

    Attributes:
        labels: uint8 (*shape), complete after the last slab. A voxel gets the lowest of equally probable classes.
    """

    def __init__(self, size: Shape, shape: Shape, thick: int | None = None) -> None:
        """Create an empty label map.

        Args:
            size: voxels per axis of the probabilities.
            shape: voxels per axis of the label map.
            thick: axis of thick slices from `thick_axis`; None for no axis.
        """
        self.labels = np.zeros(shape, np.uint8)
        taps = [_taps(old, new, axis == thick) for axis, (old, new) in enumerate(zip(size, shape, strict=True))]
        order = axis_order(size, shape)
        position = order.index(0)
        self._before = [(axis, taps[axis]) for axis in order[:position]]
        self._after = [(axis, taps[axis]) for axis in order[position + 1 :]]
        self._along = taps[0] or Taps.nearest(size[0], size[0])
        self._used = {*self._along.first.tolist(), *self._along.second.tolist()}
        self._planes: dict[int, np.ndarray] = {}
        self._received = self._finished = 0

    def add(self, slab: np.ndarray) -> None:
        """Add the next slab and compute the planes of the label map that depend on it and on earlier slabs.

        Args:
            slab: probabilities (K, planes, Y, Z), K at most 256.

        Raises:
            DecodeError: a probability is NaN or infinite.
        """
        for plane in range(slab.shape[1]):
            self._add_plane(finite_values(slab[:, plane]))

    def _add_plane(self, plane: np.ndarray) -> None:
        """Add the next plane of probabilities (K, Y, Z), and finish the planes of the label map that it completes."""
        number = self._received
        self._received += 1
        if number not in self._used:
            return
        for axis, taps in self._before:
            plane = plane if taps is None else taps.apply(plane, axis)
        # Only this plane and the previous plane are still needed.
        self._planes = {key: value for key, value in self._planes.items() if key == number - 1} | {number: plane}
        while self._finished < len(self.labels) and self._along.second[self._finished] <= number:
            self.labels[self._finished] = self._scores(self._finished).argmax(axis=0)
            self._finished += 1

    def _scores(self, position: int) -> np.ndarray:
        """Return the probabilities (K, Y, Z) of one plane of the new grid."""
        along = self._along
        scores = self._planes[int(along.first[position])]
        if along.high is not None:
            scores = scores * along.low[position]
            scores += self._planes[int(along.second[position])] * along.high[position]
        for axis, taps in self._after:
            scores = scores if taps is None else taps.apply(scores, axis)
        return scores


def _taps(old: int, new: int, nearest: bool) -> Taps | None:
    """Return the taps from `old` to `new` voxels along an axis; None if the numbers are equal."""
    if old == new:
        return None
    return Taps.nearest(old, new) if nearest else Taps.linear(old, new)
