"""Conversion of a prepared set of tiles to a prepared set of slides, on which metrics are computed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medtune.data.manifest import PreparedDataset


@dataclass(frozen=True)
class SlideDataset(PreparedDataset):
    """Prepared set with one row per slide. `images` contains the first tile of each slide.

    Attributes:
        tiles: the set of tiles.
        slide_index: (number of tiles,) int64, the row of each tile's slide in this set.
    """

    tiles: PreparedDataset | None = None
    slide_index: np.ndarray | None = None

    @cached_property
    def slide_of_tile(self) -> tuple[str, ...]:
        """Empty tuple, because the rows of this set are not tiles."""
        return ()

    @cached_property
    def digest(self) -> str:
        """Digest of the set of tiles."""
        assert self.tiles is not None
        return self.tiles.digest


def by_slide(prepared: PreparedDataset, aggregation: str | None = None) -> SlideDataset:
    """Convert a set of tiles to a set of slides. The slides are in the order of their first tiles.

    Args:
        prepared: a set of tiles. All tiles of a slide have the same label, patient and split.
        aggregation: method that combined the model outputs of a slide's tiles, which `info` then states. None if there
            are no outputs.

    Returns:
        The set of slides, with a reference to `prepared`.
    """
    first, index = slide_rows(prepared.slide_of_tile)
    fields = {field: getattr(prepared, field) for field in PreparedDataset.__dataclass_fields__}
    rows = first.tolist()
    fields |= {
        "info": {**prepared.info, "n_images": len(first), "n_tiles": len(prepared.paths)}
        | ({"aggregation": aggregation} if aggregation else {}),
        "paths": tuple(prepared.slide_of_tile[row] for row in rows),
        "labels": prepared.labels[first],
        "patient_ids": prepared.patient_ids[first],
        "folds": prepared.folds[first],
        "splits": prepared.splits[first],
        "images": prepared.images[first],
        "sha256": tuple(prepared.sha256[row] for row in rows),
        "names": tuple(prepared.names[row] for row in rows) if prepared.names else (),
        "metadata_cells": {name: tuple(cells[row] for row in rows) for name, cells in prepared.metadata_cells.items()},
    }
    return SlideDataset(**fields, tiles=prepared, slide_index=index)


def slide_rows(slide_of_tile: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Group tiles by slide.

    Args:
        slide_of_tile: for each tile, the path of its slide.

    Returns:
        (number of slides,) index of the first tile of each slide, ascending. (number of tiles,) index of the slide of
        each tile.
    """
    _, first, inverse = np.unique(np.array(slide_of_tile), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse]
