"""A prepared set of tiles, seen as a set of slides: what everything that is measured refers to."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medtune.data.manifest import PreparedDataset


@dataclass(frozen=True)
class SlideDataset(PreparedDataset):
    """A prepared set whose rows are slides; `images` shows one tile of each.

    Attributes:
        tiles: the set of tiles.
        slide_index: (tiles,) row of each tile's slide.
    """

    tiles: PreparedDataset | None = None
    slide_index: np.ndarray | None = None

    @cached_property
    def slides(self) -> tuple[str, ...]:
        """Empty: the rows are slides, not tiles."""
        return ()

    @cached_property
    def digest(self) -> str:
        """Content of the set: that of its tiles."""
        assert self.tiles is not None
        return self.tiles.digest


def by_slide(prepared: PreparedDataset) -> SlideDataset:
    """The slides of a set of tiles, in the order of their first tiles.

    Args:
        prepared: a set whose `slides` is not empty. All tiles of a slide have one label, patient and split.
    """
    first, index = slide_rows(prepared.slides)
    own = {field: getattr(prepared, field) for field in PreparedDataset.__dataclass_fields__}
    rows = first.tolist()
    own |= {
        "info": {**prepared.info, "n_images": len(first), "n_tiles": len(prepared.paths)},
        "paths": tuple(prepared.slides[row] for row in rows),
        "labels": prepared.labels[first],
        "patient_ids": prepared.patient_ids[first],
        "folds": prepared.folds[first],
        "splits": prepared.splits[first],
        "images": prepared.images[first],
        "sha256": tuple(prepared.sha256[row] for row in rows),
        "names": tuple(prepared.names[row] for row in rows) if prepared.names else (),
        "metadata_cells": {name: tuple(cells[row] for row in rows) for name, cells in prepared.metadata_cells.items()},
    }
    return SlideDataset(**own, tiles=prepared, slide_index=index)


def slide_rows(slides: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Group tiles by slide.

    Args:
        slides: the slide of each tile.

    Returns:
        (slides,) the first tile of each slide, ascending, and (tiles,) the position of each tile's slide in it.
    """
    _, first, inverse = np.unique(np.array(slides), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse]
