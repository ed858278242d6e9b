"""Stored tiles that are missing in the file of a slide.

A slide has several levels (resolutions), each stored as a grid of tiles. Scanners omit tiles without tissue, and
MedTune shows omitted tiles in white. In a damaged file, tiles with tissue are missing. A slide is rejected if a tile is
missing at a position where another level shows tissue.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medtune.serving.pixels import DecodeError

if TYPE_CHECKING:
    import tifffile

WHITE = 255
# A stored tile may be missing if at most this fraction of it is tissue on the overview. Scanners also omit tiles at the
# edge of tissue.
MAX_TISSUE = 0.5


@dataclass(frozen=True)
class StoredTiles:
    """Grid of the stored tiles of a level. Strips (groups of rows) count as tiles of the full width.

    Attributes:
        absent: bool (rows, columns), True for the tiles that are missing in the file.
        step: height and width of a tile, as fractions of the height and width of the level.
    """

    absent: np.ndarray
    step: tuple[float, float]

    def boxes(self) -> Iterator[tuple[slice, slice]]:
        """Yield the rows and the columns of each missing tile, as fractions of the slide from 0 to 1."""
        for row, column in np.argwhere(self.absent).tolist():
            yield (
                slice(row * self.step[0], min((row + 1) * self.step[0], 1.0)),
                slice(column * self.step[1], min((column + 1) * self.step[1], 1.0)),
            )

    def present_within(self, box: tuple[slice, slice]) -> bool:
        """Return True if a tile whose center is inside the box is not missing. The box is a result of `boxes`."""
        inside = [
            (center >= interval.start) & (center <= interval.stop)
            for interval, count, step in zip(box, self.absent.shape, self.step, strict=True)
            for center in [(np.arange(count) + 0.5) * step]
        ]
        return bool((~self.absent[np.ix_(*inside)]).any())


def stored_tiles(level: "tifffile.TiffPageSeries") -> StoredTiles:
    """Read the grid of the stored tiles of a level.

    Args:
        level: a level of the slide.

    Returns:
        The grid.

    Raises:
        DecodeError: the tiles do not cover the level.
    """
    absent: np.ndarray | None = None
    step = (1.0, 1.0)
    for frame in level.pages:
        if frame is None:
            return StoredTiles(np.ones((1, 1), bool), (1.0, 1.0))
        page = frame.aspage()
        tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        rows, columns = -(-page.imagelength // tall), -(-page.imagewidth // wide)
        counts, offsets = (np.asarray(values, np.int64) for values in (page.databytecounts, page.dataoffsets))
        if counts.shape != offsets.shape or counts.size == 0 or counts.size % (rows * columns):
            raise DecodeError(f"damaged: {counts.size} stored tiles, expected {rows * columns}")
        empty = np.logical_or(counts <= 0, offsets <= 0).reshape(-1, rows, columns).max(axis=0)
        absent = empty if absent is None else np.logical_or(absent, empty)
        step = (tall / page.imagelength, wide / page.imagewidth)
    return StoredTiles(np.ones((1, 1), bool) if absent is None else absent, step)


def check_absent(overview: StoredTiles, tiles: StoredTiles, tissue: np.ndarray) -> None:
    """Check that no stored tiles are missing where the slide has tissue.

    Args:
        overview: grid of the level on which tissue was detected.
        tiles: grid of the level from which tiles are read.
        tissue: bool (h, w), True where tissue was detected.

    Raises:
        DecodeError: tiles with tissue on the overview are missing, or tiles of the overview are missing.
    """
    for box in tiles.boxes():
        rows, columns = (
            slice(min(int(interval.start * n), n - 1), max(round(interval.stop * n), int(interval.start * n) + 1))
            for interval, n in zip(box, tissue.shape, strict=True)
        )
        if tissue[rows, columns].mean() > MAX_TISSUE:
            raise DecodeError(
                f"damaged: {int(tiles.absent.sum()):,} of {tiles.absent.size:,} stored tiles are missing, also where "
                "the overview shows tissue"
            )
    if any(tiles.present_within(box) for box in overview.boxes()):
        raise DecodeError(
            f"damaged: {int(overview.absent.sum()):,} of {overview.absent.size:,} stored tiles of the overview are "
            "missing, but not those of a higher resolution"
        )
