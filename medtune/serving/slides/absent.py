"""Stored tiles of a pyramid that the file lacks: scanners leave out glass, and damaged files lack tissue, too.

TIFF gives such a tile no bytes. Readers show black for it, which would be taken for pixels; here it is white, as glass
is, and a slide that lacks stored tiles where another level shows tissue is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medtune.serving.pixels import DecodeError

if TYPE_CHECKING:
    import tifffile

WHITE = 255
# Share of a stored tile that is tissue on the overview: glass at the edge of tissue is below it.
MAX_TISSUE = 0.5


@dataclass(frozen=True)
class StoredTiles:
    """The grid in which a level is stored; strips are tiles of the whole width.

    Attributes:
        absent: bool (rows, columns), the tiles that the file lacks.
        step: height and width of a tile as shares of the level's.
    """

    absent: np.ndarray
    step: tuple[float, float]

    def boxes(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of each absent tile as shares of the slide, 0 to 1."""
        for row, column in np.argwhere(self.absent).tolist():
            yield (
                slice(row * self.step[0], min((row + 1) * self.step[0], 1.0)),
                slice(column * self.step[1], min((column + 1) * self.step[1], 1.0)),
            )

    def present_within(self, box: tuple[slice, slice]) -> bool:
        """Whether a tile that is there has its center in a box."""
        inside = [
            (middle >= part.start) & (middle <= part.stop)
            for part, count, step in zip(box, self.absent.shape, self.step, strict=True)
            for middle in [(np.arange(count) + 0.5) * step]
        ]
        return bool((~self.absent[np.ix_(*inside)]).any())


def stored_tiles(level: "tifffile.TiffPageSeries") -> StoredTiles:
    """Return the grid in which a level is stored.

    Raises:
        DecodeError: its tiles do not cover it.
    """
    found: np.ndarray | None = None
    step = (1.0, 1.0)
    for one in level.pages:
        if one is None:
            return StoredTiles(np.ones((1, 1), bool), (1.0, 1.0))
        page = one.aspage()
        tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        rows, columns = -(-page.imagelength // tall), -(-page.imagewidth // wide)
        counts, offsets = (np.asarray(values, np.int64) for values in (page.databytecounts, page.dataoffsets))
        if counts.shape != offsets.shape or counts.size == 0 or counts.size % (rows * columns):
            raise DecodeError(f"damaged: {counts.size} stored tiles, expected {rows * columns}")
        empty = np.logical_or(counts <= 0, offsets <= 0).reshape(-1, rows, columns).max(axis=0)
        found = empty if found is None else np.logical_or(found, empty)
        step = (tall / page.imagelength, wide / page.imagewidth)
    return StoredTiles(np.ones((1, 1), bool) if found is None else found, step)


def check_absent(overview: StoredTiles, tiles: StoredTiles, tissue: np.ndarray) -> None:
    """Refuse a slide that lacks stored tiles where it has tissue.

    Args:
        overview: of the level that tissue was found on.
        tiles: of the level that tiles are read from.
        tissue: bool (h, w), the mask of the tissue.

    Raises:
        DecodeError: tissue on the overview is absent from the tiles, or tiles are absent from the overview.
    """
    for box in tiles.boxes():
        rows, columns = (
            slice(min(int(part.start * n), n - 1), max(round(part.stop * n), int(part.start * n) + 1))
            for part, n in zip(box, tissue.shape, strict=True)
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
