"""Positions of training patches: anywhere in the volume, or centered on a labeled voxel."""

from collections.abc import Sequence

import numpy as np

from medtune.data.volume_store import VolumeStore
from medtune.serving.volumes.windows import Patch

# Largest number of voxels per label and volume from which patch centers are drawn.
MAX_CENTERS = 10_000


class PatchPositions:
    """Converts uniform random numbers into positions of patches.

    Args:
        volumes: prepared volumes.
        patch: voxels of a patch per axis.
        n_labels: number of labels without the background.
    """

    def __init__(self, volumes: VolumeStore, patch: Patch, n_labels: int) -> None:
        self.volumes, self.patch, self.n_labels = volumes, patch, n_labels
        self._centers: dict[int, list[np.ndarray]] = {}

    def anywhere(self, row: int, numbers: Sequence[float]) -> Patch:
        """Return the first voxel of a patch, uniformly distributed over all patches in the volume.

        Args:
            row: index of the volume in `volumes`.
            numbers: three numbers in 0..1.

        Returns:
            X, Y and Z. Negative along an axis that is shorter than the patch, as in `windows.pad_to_patch`.
        """
        x, y, z = (
            _offset(length, side) if length <= side else min(int(number * (length - side + 1)), length - side)
            for length, side, number in zip(self.volumes.entries[row].shape, self.patch, numbers, strict=True)
        )
        return x, y, z

    def on_label(self, row: int, turn: int, number: float) -> Patch | None:
        """Return the first voxel of a patch that is centered on a labeled voxel, or is as near as the volume permits.

        Args:
            row: index of the volume in `volumes`.
            turn: integer that selects a label of the volume. Consecutive integers select the labels in turn.
            number: number in 0..1, which selects the voxel.

        Returns:
            X, Y and Z as in `anywhere`; None if the volume has no label.
        """
        centers = self._labeled(row)
        if not centers:
            return None
        voxels = centers[turn % len(centers)]
        shape = self.volumes.entries[row].shape
        center = np.unravel_index(voxels[min(int(number * len(voxels)), len(voxels) - 1)], shape)
        x, y, z = (
            _offset(length, side) if length <= side else min(max(int(middle) - side // 2, 0), length - side)
            for middle, length, side in zip(center, shape, self.patch, strict=True)
        )
        return x, y, z

    def _labeled(self, row: int) -> list[np.ndarray]:
        """Return flat indices of voxels of each label that the mask has, at most `MAX_CENTERS` per label."""
        if row not in self._centers:
            mask = self.volumes.mask(row).ravel()
            draw = np.random.default_rng(0)  # the same voxels in every process and after a restart
            self._centers[row] = []
            for label in range(1, self.n_labels + 1):
                voxels = np.flatnonzero(mask == label).astype(np.int32)  # a volume has at most 2^31 voxels
                if len(voxels) > MAX_CENTERS:
                    voxels = draw.choice(voxels, MAX_CENTERS, replace=False)
                if len(voxels):
                    self._centers[row].append(voxels)
        return self._centers[row]


def read_box(array: np.ndarray, first: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """Copy a box from the last three axes of an array, with zeros outside of the array.

    Args:
        array: (..., X, Y, Z).
        first: first voxel of the box, possibly negative.
        size: voxels of the box per axis.

    Returns:
        (..., *size), contiguous.
    """
    shape = array.shape[-3:]
    inside = [
        (max(start, 0), min(start + side, length)) for start, side, length in zip(first, size, shape, strict=True)
    ]
    source_x, source_y, source_z = (slice(low, high) for low, high in inside)
    if all(high - low == side for (low, high), side in zip(inside, size, strict=True)):
        return np.array(array[..., source_x, source_y, source_z])
    box = np.zeros((*array.shape[:-3], *size), array.dtype)
    if all(low < high for low, high in inside):
        x, y, z = (slice(low - start, high - start) for (low, high), start in zip(inside, first, strict=True))
        box[..., x, y, z] = array[..., source_x, source_y, source_z]
    return box


def _offset(length: int, side: int) -> int:
    """Return the first voxel, 0 or negative, of a patch that is at least as long as the axis."""
    return -((side - length) // 2)
