"""Stored features of one prepared set: parts on disk, each whole or absent, and the table that finds a row in them.

A dihedral view is a folder of parts. A part holds the rows that were missing when it was written, so that whoever
wants more rows adds a part and computes nothing twice.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch

from medtune.runtime.artifact import find_artifact

INDICES_FILE, FEATURES_FILE = "rows.npy", "features.npy"


@dataclass(frozen=True)
class FeatureShard:
    """Some rows of one view.

    Attributes:
        indices: (m,) row numbers in the prepared set.
        features: (m, N, C) float16, memory-mapped.
    """

    indices: np.ndarray
    features: np.ndarray

    @classmethod
    def open(cls, folder: Path) -> "FeatureShard":
        """The part in the finished `folder`.

        Raises:
            ValueError: a file of it is no .npy of numbers. np.load takes more than those.
        """
        read = np.lib.format.open_memmap
        return cls(np.array(read(folder / INDICES_FILE, mode="r")), read(folder / FEATURES_FILE, mode="r"))


def load_shards(view: Path, key: str) -> tuple[list[FeatureShard], Path]:
    """The whole parts of a view, every byte verified, and the place of the next one.

    The next one takes the first number that is free, or whose part is damaged: that part's rows are missing, then.
    """
    shards = {}
    for path in view.iterdir():
        if path.name.isdigit() and find_artifact(path, key):
            with suppress(ValueError):
                shards[int(path.name)] = FeatureShard.open(path)
    return list(shards.values()), view / f"{next(number for number in count() if number not in shards):04}"


class FeatureStore:
    """Features of some rows of a prepared set in some views; memory does not grow with their number."""

    def __init__(self, images: int, views: Sequence[Sequence[FeatureShard]]) -> None:
        """Takes the parts of each view, of a set of `images` images."""
        self.arrays = [shard.features for view in views for shard in view]
        self.offsets = np.cumsum([0, *(len(array) for array in self.arrays)])
        self.positions = np.full((len(views), images), -1)  # in the arrays, as if they lay one behind the other
        offsets = iter(self.offsets)
        for number, view in enumerate(views):
            for shard in view:
                self.positions[number, shard.indices] = next(offsets) + np.arange(len(shard.indices))

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.positions)

    def fetch(self, indices: np.ndarray, views: np.ndarray | None = None) -> torch.Tensor:
        """float16 (B, N, C) features of images `indices`, each in its view (view 0 where not given).

        Raises:
            LookupError: one of them was never stored.
        """
        chosen = np.zeros(len(indices), int) if views is None else views
        positions = self.positions[chosen, indices]
        if (missing := np.flatnonzero(positions < 0)).size:
            raise LookupError(f"image {indices[missing[0]]} is not stored in view {chosen[missing[0]]}")
        shard_of = np.searchsorted(self.offsets, positions, side="right") - 1
        out = np.empty((len(indices), *self.arrays[0].shape[1:]), np.float16)
        for shard in np.unique(shard_of):
            mask = shard_of == shard
            out[mask] = self.arrays[shard][positions[mask] - self.offsets[shard]]
        return torch.from_numpy(out)
