"""Selection and reading of the tiles of a slide. Training and prediction use the same functions.

Tiles are selected on the tissue mask, a small image of the slide with True where tissue was detected.
"""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medtune.serving.pixels import DecodeError
from medtune.serving.slides.absent import check_absent
from medtune.serving.slides.slide import CONVERT, MAX_REGION, Slide
from medtune.serving.slides.tile_settings import TileSettings
from medtune.serving.slides.tissue import find_tissue

# A level may be coarser than requested by this factor. For example, 0.2527 micrometers per pixel count as 0.25.
_LEVEL_TOLERANCE = 1.02
_MAX_ENLARGED = 1.1  # largest factor by which tiles are enlarged
_MASK_PIXELS_PER_TILE = 8  # minimum side of a tile in pixels of the tissue mask
_MASK_UM = 32.0  # maximum size of a pixel of the tissue mask in micrometers
_MAX_MASK_PIXELS = 25_000_000  # maximum number of pixels of the level for the tissue mask
_OVERVIEW_SIDE = 1024  # maximum side of the overview in pixels


@dataclass(frozen=True)
class TilePlan:
    """The tiles of one slide.

    Attributes:
        positions: (x, y) of the upper left corner of each tile in pixels of level 0, row by row.
        tile: (width, height) of a tile in pixels of level 0.
        n_candidates: number of tiles with enough tissue, before `max_per_slide` is applied.
        mpp: micrometers per pixel of level 0, horizontally and vertically.
        size: (width, height) of level 0 in pixels.
        level: level from which tiles are read.
        overview: uint8 (h, w, 3), the complete slide, at most 1024 pixels wide and high.
        tissue: bool (h, w), tissue mask. Its resolution differs from that of the overview.
        content: SHA-256 of the pixels of the slide at the resolution of the mask.
        absent: number of missing stored tiles at `level`, and number of all stored tiles.
    """

    positions: tuple[tuple[int, int], ...]
    tile: tuple[float, float]
    n_candidates: int
    mpp: tuple[float, float]
    size: tuple[int, int]
    level: int
    overview: np.ndarray
    tissue: np.ndarray
    content: str
    absent: tuple[int, int] = (0, 0)


def resolve_mpp(slide: Slide, user_mpp: float | None, fix: str) -> tuple[float, float]:
    """Return the micrometers per pixel of level 0. The value in the file takes precedence over the user's value.

    Args:
        slide: an open slide.
        user_mpp: value of the user; None if there is none.
        fix: advice for the error message.

    Returns:
        Micrometers per pixel, horizontally and vertically.

    Raises:
        DecodeError: neither value is known.
    """
    if slide.stated_mpp is not None:
        return slide.stated_mpp
    if user_mpp is None:
        raise DecodeError(f"the file does not state its micrometers per pixel (mpp). {fix}")
    return user_mpp, user_mpp


def plan_tiles(slide: Slide, settings: TileSettings, mpp: tuple[float, float]) -> TilePlan:
    """Select the tiles of a slide.

    Args:
        slide: an open slide.
        settings: settings of the tiles.
        mpp: micrometers per pixel, from `resolve_mpp`.

    Returns:
        The selected tiles.

    Raises:
        DecodeError: no tile has enough tissue, stored tiles with tissue are missing, the slide is smaller than a tile
            or too coarse, or no level fits into memory.
    """
    width, height = settings.size_um / mpp[0], settings.size_um / mpp[1]
    if width > slide.size[0] or height > slide.size[1]:
        um = " x ".join(f"{side * um_per_pixel:,.0f}" for side, um_per_pixel in zip(slide.size, mpp, strict=True))
        raise DecodeError(
            f"the slide is {um} micrometers, smaller than one tile of {settings.size_um:g}. Use smaller tiles, or "
            "data.source=folder for images that are not slides"
        )
    level = _level(slide, settings, (width, height))
    image, overview, overview_level = _overview(slide, settings, mpp)
    tissue = find_tissue(image)
    stored = slide.stored_tiles(level)
    if overview_level != level:
        check_absent(slide.stored_tiles(overview_level), stored, tissue)
    grid = _grid(slide.size, (width, height), settings.overlap)
    fractions = _tissue_fractions(tissue, grid, (width, height), slide.size).tolist()
    candidates = [tile for tile, fraction in zip(grid, fractions, strict=True) if fraction >= settings.min_tissue]
    if not candidates or not tissue.any():
        raise DecodeError(
            f"no tissue: {tissue.mean():.1%} of the slide is tissue, and none of {len(grid):,} tiles reaches "
            f"min_tissue {settings.min_tissue:g}"
        )
    content = hashlib.sha256(repr((slide.size, image.shape)).encode() + image.tobytes()).hexdigest()
    selected = _select(candidates, settings, content)
    absent = int(stored.absent.sum()), stored.absent.size
    return TilePlan(
        selected, (width, height), len(candidates), mpp, slide.size, level, overview, tissue, content, absent
    )  # fmt: skip


def read_tile(slide: Slide, position: tuple[int, int], settings: TileSettings, mpp: tuple[float, float]) -> np.ndarray:
    """Read a tile, and resample it with antialiasing.

    The tile is read from the coarsest level that is not coarser than the result.

    Args:
        slide: an open slide.
        position: (x, y) of the upper left corner in pixels of level 0.
        settings: settings of the tiles.
        mpp: micrometers per pixel, from `resolve_mpp`.

    Returns:
        uint8 (pixels, pixels, 3).
    """
    tile = settings.size_um / mpp[0], settings.size_um / mpp[1]
    level = _level(slide, settings, tile)
    scale, bounds = slide.scale(level), slide.levels[level]
    start = [corner / factor for corner, factor in zip(position, scale, strict=True)]
    end = [
        min((corner + side) / factor, limit)
        for corner, side, factor, limit in zip(position, tile, scale, bounds, strict=True)
    ]
    left, top = (math.floor(coordinate + 1e-6) for coordinate in start)
    right, bottom = (math.ceil(coordinate - 1e-6) for coordinate in end)
    region = Image.fromarray(slide.read(level, (left, top, right, bottom)))
    box = (max(start[0] - left, 0), max(start[1] - top, 0), min(end[0] - left, region.width),
           min(end[1] - top, region.height))  # fmt: skip
    return np.array(region.resize((settings.pixels, settings.pixels), Image.Resampling.BICUBIC, box))


@contextmanager
def open_slide(path: Path, user_mpp: float | None, fix: str) -> Iterator[tuple[Slide, tuple[float, float]]]:
    """Open a slide, and yield it with its micrometers per pixel. The arguments are those of `resolve_mpp`."""
    with Slide.open(path) as slide:
        yield slide, resolve_mpp(slide, user_mpp, fix)


def _level(slide: Slide, settings: TileSettings, tile: tuple[float, float]) -> int:
    """Return the coarsest level that is not coarser than the image of a tile. `tile` is in pixels of level 0."""
    target = min(tile) / settings.pixels
    if target * _MAX_ENLARGED < 1:
        raise DecodeError(
            f"a tile of {settings.size_um:g} micrometers has only {min(tile):,.0f} pixels in this slide, less than "
            f"{settings.pixels}. Use larger tiles (data.tiles.size_um) or a smaller data.image_size"
        )
    level = max(
        (number for number in range(len(slide.levels)) if max(slide.scale(number)) <= target * _LEVEL_TOLERANCE),
        default=0,
        key=lambda number: max(slide.scale(number)),
    )
    if max(side / factor for side, factor in zip(tile, slide.scale(level), strict=True)) > MAX_REGION:
        raise DecodeError(f"the slide lacks levels of low resolution, so tiles do not fit in memory. {CONVERT}")
    return level


def _overview(slide: Slide, settings: TileSettings, mpp: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, int]:
    """Read the complete slide from a coarse level.

    Returns:
        Three values: the slide at the resolution of the tissue mask, the overview, and the level of both. The images
        are uint8 (h, w, 3).

    Raises:
        DecodeError: no level fits in memory.
    """
    target = min(settings.size_um / _MASK_PIXELS_PER_TILE, _MASK_UM)
    fitting = [n for n, (width, height) in enumerate(slide.levels) if width * height <= _MAX_MASK_PIXELS]
    if not fitting:
        raise DecodeError(f"the slide has no level of low resolution for detecting tissue. {CONVERT}")

    def um(level: int) -> float:
        return max(um_per_pixel * scale for um_per_pixel, scale in zip(mpp, slide.scale(level), strict=True))

    fine = [level for level in fitting if um(level) <= target]
    level = max(fine, key=um) if fine else min(fitting, key=um)
    image = Image.fromarray(slide.read(level, (0, 0, *slide.levels[level])))
    factor = max(1, min(int(target / um(level)), *image.size))
    overview = image.copy()
    overview.thumbnail((_OVERVIEW_SIDE, _OVERVIEW_SIDE), Image.Resampling.BICUBIC)
    return np.array(image.reduce(factor)), np.array(overview), level


def _grid(size: tuple[int, int], tile: tuple[float, float], overlap: float) -> list[tuple[int, int]]:
    """Return the corners of all tiles that are completely inside the slide, row by row."""
    columns, rows = (
        [round(number * step) for number in range(int((length - side) / step + 1e-9) + 1)]
        for length, side in zip(size, tile, strict=True)
        for step in [side * (1 - overlap)]
    )
    return [(x, y) for y in rows for x in columns]


def _tissue_fractions(
    tissue: np.ndarray, grid: list[tuple[int, int]], tile: tuple[float, float], size: tuple[int, int]
) -> np.ndarray:
    """Return the fraction (tiles,) of tissue in each tile. The borders of tiles are rounded to pixels of the mask."""
    height, width = tissue.shape
    total = np.pad(tissue.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    corners = np.array(grid, np.float64).reshape(-1, 2)
    left, top = (np.round(corners[:, axis] * n / size[axis]).astype(int) for axis, n in ((0, width), (1, height)))
    right, bottom = (
        np.clip(np.round((corners[:, axis] + tile[axis]) * n / size[axis]).astype(int), 1, n)
        for axis, n in ((0, width), (1, height))
    )
    left, top = np.minimum(left, right - 1), np.minimum(top, bottom - 1)
    marked = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    return np.asarray(marked / ((right - left) * (bottom - top)))


def _select(tiles: list[tuple[int, int]], settings: TileSettings, content: str) -> tuple[tuple[int, int], ...]:
    """Select at most `max_per_slide` random tiles, in their order. The same slide always yields the same tiles."""
    if settings.max_per_slide is None or len(tiles) <= settings.max_per_slide:
        return tuple(tiles)

    def rank(position: tuple[int, int]) -> bytes:
        return hashlib.sha256(f"{settings.seed} {content} {position}".encode()).digest()

    selected = set(sorted(tiles, key=rank)[: settings.max_per_slide])
    return tuple(tile for tile in tiles if tile in selected)
