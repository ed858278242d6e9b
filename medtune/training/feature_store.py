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

from medtune.runtime.artifact import find

ROWS, FEATURES = "rows.npy", "features.npy"


@dataclass(frozen=True)
class Part:
    """Some rows of one view.

    Attributes:
        rows: (m,) row numbers in the prepared set.
        features: (m, N, C) float16, memory-mapped.
    """

    rows: np.ndarray
    features: np.ndarray

    @classmethod
    def at(cls, folder: Path) -> "Part":
        """The part in the finished `folder`.

        Raises:
            ValueError: a file of it is no .npy of numbers. np.load takes more than those.
        """
        read = np.lib.format.open_memmap
        return cls(np.array(read(folder / ROWS, mode="r")), read(folder / FEATURES, mode="r"))


def parts(view: Path, key: str) -> tuple[list[Part], Path]:
    """The whole parts of a view, every byte verified, and the place of the next one.

    The next one takes the first number that is free, or whose part is damaged: that part's rows are missing, then.
    """
    whole = {}
    for path in view.iterdir():
        if path.name.isdigit() and find(path, key):
            with suppress(ValueError):
                whole[int(path.name)] = Part.at(path)
    return list(whole.values()), view / f"{next(number for number in count() if number not in whole):04}"


class FeatureStore:
    """Features of some rows of a prepared set in some views; memory does not grow with their number."""

    def __init__(self, images: int, views: Sequence[Sequence[Part]]) -> None:
        """Takes the parts of each view, of a set of `images` images."""
        self.arrays = [part.features for view in views for part in view]
        self.begins = np.cumsum([0, *(len(array) for array in self.arrays)])
        self.places = np.full((len(views), images), -1)  # in the arrays, as if they lay one behind the other
        begins = iter(self.begins)
        for number, view in enumerate(views):
            for part in view:
                self.places[number, part.rows] = next(begins) + np.arange(len(part.rows))

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.places)

    def gather(self, rows: np.ndarray, views: np.ndarray | None = None) -> torch.Tensor:
        """float16 (B, N, C) features of images `rows`, each in its view (view 0 where not given).

        Raises:
            LookupError: one of them was never stored.
        """
        chosen = np.zeros(len(rows), int) if views is None else views
        places = self.places[chosen, rows]
        if (absent := np.flatnonzero(places < 0)).size:
            raise LookupError(f"image {rows[absent[0]]} is not stored in view {chosen[absent[0]]}")
        owners = np.searchsorted(self.begins, places, side="right") - 1
        out = np.empty((len(rows), *self.arrays[0].shape[1:]), np.float16)
        for owner in np.unique(owners):
            at = owners == owner
            out[at] = self.arrays[owner][places[at] - self.begins[owner]]
        return torch.from_numpy(out)
