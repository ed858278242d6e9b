"""Selection of windows of test volumes for the parity check.

A window is the part of a volume that the network predicts at once. Its positions are those of the sliding window.
"""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medtune.export.parity import stratified_sample
from medtune.serving.volumes.windows import Patch, pad_to_patch, window_starts

if TYPE_CHECKING:
    from medtune.data.volume_store import VolumeStore

# Number of volumes whose windows are candidates.
MAX_VOLUMES = 16
# Maximum number of windows of the volumes that are segmented completely. A single volume may have more.
MAX_WINDOWS = 500


def sample_windows(
    store: "VolumeStore", rows: Sequence[int], patch: Patch, overlap: float, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Select windows. They are balanced over the rarest label that each window contains.

    Args:
        store: the prepared volumes.
        rows: rows of the volumes.
        patch: size of a window in voxels per axis.
        overlap: overlap of neighboring windows as a fraction of the window.
        n: largest number of windows.
        seed: random seed.

    Returns:
        Windows, float32 (at most n, C, *patch), and their masks, uint8 (at most n, *patch).
    """
    rows = list(rows)[:MAX_VOLUMES]
    voxels = np.sum([store.entries[row].voxels for row in rows], axis=0)
    by_rarity = [0, *(1 + np.argsort(-voxels, kind="stable")).tolist()]  # the background first
    order = np.argsort(by_rarity)
    places: list[tuple[int, tuple[int, ...]]] = []
    strata: list[int] = []
    for row in rows:
        mask = pad_to_patch(store.mask(row)[None], patch)[0][0]
        grid = [window_starts(size, side, overlap) for size, side in zip(mask.shape, patch, strict=True)]
        for corner in itertools.product(*grid):
            places.append((row, corner))
            strata.append(int(order[np.unique(mask[_box(corner, patch)])].max()))
    shuffled = np.random.default_rng(seed).permutation(len(places))
    selected = stratified_sample(np.array(strata), shuffled, n).tolist()
    windows = np.empty((len(selected), store.channels, *patch), np.float32)
    masks = np.empty((len(selected), *patch), np.uint8)
    for index, place in enumerate(selected):
        row, corner = places[place]
        windows[index] = pad_to_patch(store.image(row), patch)[0][(slice(None), *_box(corner, patch))]
        masks[index] = pad_to_patch(store.mask(row)[None], patch)[0][0][_box(corner, patch)]
    return windows, masks


def limit_windows(
    store: "VolumeStore", rows: Sequence[int], patch: Patch, overlap: float, limit: int = MAX_WINDOWS
) -> list[int]:
    """Return the rows of the first volumes that together have at most `limit` windows, but of at least one volume.

    Args:
        store: the prepared volumes.
        rows: rows of the volumes.
        patch: size of a window in voxels per axis.
        overlap: overlap of neighboring windows as a fraction of the window.
        limit: largest number of windows.
    """
    selected: list[int] = []
    total = 0
    for row in rows:
        axes = zip(store.entries[row].shape, patch, strict=True)
        total += math.prod(len(window_starts(max(size, side), side, overlap)) for size, side in axes)
        if selected and total > limit:
            break
        selected.append(row)
    return selected


def _box(corner: Sequence[int], patch: Patch) -> tuple[slice, ...]:
    """Return the slices of the window whose first voxel is `corner`."""
    return tuple(slice(start, start + side) for start, side in zip(corner, patch, strict=True))
