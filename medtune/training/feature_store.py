"""Stored features of a prepared data set, in shards that are written atomically.

Each dihedral view (flip or quarter turn) has a folder of shards. A new shard contains only images that no other shard
of the view contains.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medtune.runtime.artifact import find_artifact

INDICES_FILE, FEATURES_FILE = "rows.npy", "features.npy"


@dataclass(frozen=True)
class FeatureShard:
    """Features of some images in one view.

    Attributes:
        indices: (m,) image indices in the prepared data set.
        features: (m, N, C) float16, memory-mapped: N tokens with C channels.
    """

    indices: npt.NDArray[Any]
    features: npt.NDArray[Any]

    @classmethod
    def open(cls, folder: Path) -> "FeatureShard":
        """Open a published shard.

        Args:
            folder: folder of the shard.

        Returns:
            The shard.

        Raises:
            ValueError: a file is not a .npy file of numbers.
        """
        read = np.lib.format.open_memmap  # np.load also accepts other formats
        return cls(np.array(read(folder / INDICES_FILE, mode="r")), read(folder / FEATURES_FILE, mode="r"))


def load_shards(view: Path, key: str) -> tuple[list[FeatureShard], Path]:
    """Load the valid shards of a view and verify their checksums.

    Args:
        view: folder of the view.
        key: cache key of the features; shards with another key are ignored.

    Returns:
        The shards, and the folder for the next shard. Its number is the lowest that is free or has a damaged shard.
    """
    shards = {}
    for path in view.iterdir():
        if path.name.isdigit() and find_artifact(path, key):
            with suppress(ValueError):
                shards[int(path.name)] = FeatureShard.open(path)
    return list(shards.values()), view / f"{next(number for number in count() if number not in shards):04}"


class FeatureStore:
    """Features of images of a prepared data set in one or more views, read from memory-mapped shards."""

    def __init__(self, images: int, views: Sequence[Sequence[FeatureShard]]) -> None:
        """Index the shards.

        Args:
            images: number of images in the data set.
            views: shards per view.
        """
        self.arrays = [shard.features for view in views for shard in view]
        self.offsets = np.cumsum([0, *(len(array) for array in self.arrays)])
        self.positions = np.full((len(views), images), -1)  # row in all arrays together; -1: not stored
        offsets = iter(self.offsets)
        for number, view in enumerate(views):
            for shard in view:
                self.positions[number, shard.indices] = next(offsets) + np.arange(len(shard.indices))

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.positions)

    def fetch(self, indices: npt.NDArray[Any], views: npt.NDArray[Any] | None = None) -> torch.Tensor:
        """Read the features of images.

        Args:
            indices: (B,) image indices.
            views: (B,) view of each image; None is view 0.

        Returns:
            Features (B, N, C), float16.

        Raises:
            LookupError: the features of an image are not stored.
        """
        views = np.zeros(len(indices), int) if views is None else views
        positions = self.positions[views, indices]
        if (missing := np.flatnonzero(positions < 0)).size:
            raise LookupError(f"image {indices[missing[0]]} is not stored in view {views[missing[0]]}")
        shard_of = np.searchsorted(self.offsets, positions, side="right") - 1
        out = np.empty((len(indices), *self.arrays[0].shape[1:]), np.float16)
        for shard in np.unique(shard_of):
            mask = shard_of == shard
            out[mask] = self.arrays[shard][positions[mask] - self.offsets[shard]]
        return torch.from_numpy(out)
