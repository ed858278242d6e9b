"""Which tiles of a slide are used, and their pixels: the same for training and prediction."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medtune.serving.pixels import DecodeError
from medtune.serving.slides.absent import check_absent
from medtune.serving.slides.slide import CONVERT, MAX_REGION, Slide
from medtune.serving.slides.tissue import find_tissue

# A level this much coarser than wanted counts as fine enough: 0.2527 micrometres per pixel are called 0.25.
_LEVEL_TOLERANCE = 1.02
_MAX_ENLARGED = 1.1
_MASK_PIXELS_PER_TILE = 8
_MASK_UM = 32.0
_MAX_MASK_PIXELS = 25_000_000
_OVERVIEW_SIDE = 1024


@dataclass(frozen=True)
class TileSettings:
    """How slides are cut into tiles.

    Attributes:
        size_um: side of a tile in micrometres.
        pixels: side of the image that a tile becomes.
        overlap: share of a tile's side that its neighbor repeats, 0 to 0.9.
        max_per_slide: most tiles of one slide; None: all.
        min_tissue: least share of a tile that is tissue, 0 to 1.
        seed: of the choice among more than `max_per_slide` tiles.
    """

    size_um: float
    pixels: int
    overlap: float
    max_per_slide: int | None
    min_tissue: float
    seed: int

    def document(self) -> dict[str, Any]:
        """JSON values for dataset.json and bundle.json."""
        return asdict(self)

    @classmethod
    def from_document(cls, values: Any) -> "TileSettings":
        """Settings that `document` gave.

        Raises:
            ValueError: a field is missing or out of its range; the message names it.
        """
        if not isinstance(values, dict):
            raise ValueError(f"tiles is {values!r}: expected the settings of tiles")
        number = lambda value: isinstance(value, int | float) and not isinstance(value, bool)  # noqa: E731
        whole = lambda value: isinstance(value, int) and not isinstance(value, bool)  # noqa: E731
        rules = {
            "size_um": lambda value: number(value) and 0 < value < math.inf,
            "pixels": lambda value: whole(value) and value > 0,
            "overlap": lambda value: number(value) and 0 <= value <= 0.9,
            "max_per_slide": lambda value: value is None or (whole(value) and value > 0),
            "min_tissue": lambda value: number(value) and 0 <= value <= 1,
            "seed": lambda value: whole(value) and value >= 0,
        }
        for name, is_right in rules.items():
            if name not in values or not is_right(values[name]):
                raise ValueError(f"tiles.{name} is {values.get(name)!r}, which is out of range")
        return cls(**{name: values[name] for name in rules})


@dataclass(frozen=True)
class TilePlan:
    """The tiles of one slide.

    Attributes:
        positions: (x, y) of each tile's upper left corner in pixels of level 0, row by row.
        tile: (width, height) of a tile in pixels of level 0.
        n_candidates: tiles with enough tissue, before `max_per_slide`.
        mpp: micrometres per pixel of level 0, horizontally and vertically.
        size: (width, height) of level 0 in pixels.
        level: the level that tiles are read from.
        overview: uint8 (h, w, 3), the whole slide, at most 1024 pixels wide and high.
        tissue: bool (h, w), the mask, coarser than the overview.
        content: digest of the slide's pixels at the mask's level.
        absent: stored tiles that the file lacks at `level`, and their number in all; they are white.
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


def resolve_mpp(slide: Slide, given: float | None, fix: str) -> tuple[float, float]:
    """Micrometres per pixel of level 0: what the file states, else what the user gives.

    Args:
        slide: an open slide.
        given: the user's value.
        fix: how to give one, for the error.

    Raises:
        DecodeError: neither is known.
    """
    if slide.stated_mpp is not None:
        return slide.stated_mpp
    if given is None:
        raise DecodeError(f"the file does not state its micrometres per pixel (mpp). {fix}")
    return given, given


def plan_tiles(slide: Slide, settings: TileSettings, mpp: tuple[float, float]) -> TilePlan:
    """Choose the tiles of a slide.

    Args:
        slide: an open slide.
        settings: how to cut it.
        mpp: from `resolve_mpp`.

    Raises:
        DecodeError: no tile has enough tissue, the slide is smaller than a tile or coarser than wanted, it lacks a
            level that fits into memory, or it lacks stored tiles where it has tissue.
    """
    width, height = settings.size_um / mpp[0], settings.size_um / mpp[1]
    if width > slide.size[0] or height > slide.size[1]:
        um = " x ".join(f"{side * one:,.0f}" for side, one in zip(slide.size, mpp, strict=True))
        raise DecodeError(
            f"the slide is {um} micrometres, smaller than one tile of {settings.size_um:g}. Use smaller tiles, or "
            "source folder for images that are no slides"
        )
    level = _level(slide, settings, (width, height))
    image, overview, overview_level = _overview(slide, settings, mpp)
    tissue = find_tissue(image)
    stored = slide.stored_tiles(level)
    if overview_level != level:
        check_absent(slide.stored_tiles(overview_level), stored, tissue)
    grid = _grid(slide.size, (width, height), settings.overlap)
    share = _tissue_share(tissue, grid, (width, height), slide.size)
    chosen = [position for position, part in zip(grid, share.tolist(), strict=True) if part >= settings.min_tissue]
    if not chosen or not tissue.any():
        raise DecodeError(
            f"no tissue: {tissue.mean():.1%} of the slide is tissue, and none of {len(grid):,} tiles reaches "
            f"min_tissue {settings.min_tissue:g}"
        )
    content = hashlib.sha256(repr((slide.size, image.shape)).encode() + image.tobytes()).hexdigest()
    selected = _select(chosen, settings, content)
    absent = int(stored.absent.sum()), stored.absent.size
    return TilePlan(
        selected, (width, height), len(chosen), mpp, slide.size, level, overview, tissue, content, absent
    )  # fmt: skip


def read_tile(slide: Slide, position: tuple[int, int], settings: TileSettings, mpp: tuple[float, float]) -> np.ndarray:
    """A tile as uint8 (pixels, pixels, 3): the region of the next finer level, resampled with antialiasing.

    Args:
        slide: an open slide.
        position: (x, y) of its upper left corner in pixels of level 0.
        settings: how slides are cut.
        mpp: from `resolve_mpp`.
    """
    tile = settings.size_um / mpp[0], settings.size_um / mpp[1]
    level = _level(slide, settings, tile)
    scale, bounds = slide.scale(level), slide.levels[level]
    start = [at / one for at, one in zip(position, scale, strict=True)]
    end = [min((at + side) / one, limit) for at, side, one, limit in zip(position, tile, scale, bounds, strict=True)]
    left, top = (math.floor(at + 1e-6) for at in start)
    right, bottom = (math.ceil(at - 1e-6) for at in end)
    region = Image.fromarray(slide.read(level, (left, top, right, bottom)))
    box = (max(start[0] - left, 0), max(start[1] - top, 0), min(end[0] - left, region.width),
           min(end[1] - top, region.height))  # fmt: skip
    return np.array(region.resize((settings.pixels, settings.pixels), Image.Resampling.BICUBIC, box))


@contextmanager
def opened(path: Path, given_mpp: float | None, fix: str) -> Iterator[tuple[Slide, tuple[float, float]]]:
    """An open slide and its micrometres per pixel; arguments and errors as for `resolve_mpp`."""
    with Slide.open(path) as slide:
        yield slide, resolve_mpp(slide, given_mpp, fix)


def _level(slide: Slide, settings: TileSettings, tile: tuple[float, float]) -> int:
    """The coarsest level that is not coarser than a tile's pixels."""
    wanted = min(tile) / settings.pixels
    if wanted * _MAX_ENLARGED < 1:
        raise DecodeError(
            f"a tile of {settings.size_um:g} micrometres has only {min(tile):,.0f} pixels here, less than "
            f"{settings.pixels}. Use larger tiles (data.tiles.size_um) or a smaller data.image_size"
        )
    level = max(
        (number for number in range(len(slide.levels)) if max(slide.scale(number)) <= wanted * _LEVEL_TOLERANCE),
        default=0,
        key=lambda number: max(slide.scale(number)),
    )
    if max(side / one for side, one in zip(tile, slide.scale(level), strict=True)) > MAX_REGION:
        raise DecodeError(f"the slide lacks levels of low resolution, so that tiles do not fit in memory. {CONVERT}")
    return level


def _overview(slide: Slide, settings: TileSettings, mpp: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, int]:
    """The slide at the mask's resolution and as an overview, both uint8 (h, w, 3), and the level that they show."""
    target = min(settings.size_um / _MASK_PIXELS_PER_TILE, _MASK_UM)
    fitting = [n for n, (width, height) in enumerate(slide.levels) if width * height <= _MAX_MASK_PIXELS]
    if not fitting:
        raise DecodeError(f"the slide has no level of low resolution to find tissue on. {CONVERT}")

    def um(level: int) -> float:
        return max(one * scale for one, scale in zip(mpp, slide.scale(level), strict=True))

    fine = [level for level in fitting if um(level) <= target]
    level = max(fine, key=um) if fine else min(fitting, key=um)
    image = Image.fromarray(slide.read(level, (0, 0, *slide.levels[level])))
    factor = max(1, min(int(target / um(level)), *image.size))
    overview = image.copy()
    overview.thumbnail((_OVERVIEW_SIDE, _OVERVIEW_SIDE), Image.Resampling.BICUBIC)
    return np.array(image.reduce(factor)), np.array(overview), level


def _grid(size: tuple[int, int], tile: tuple[float, float], overlap: float) -> list[tuple[int, int]]:
    """Corners of all tiles that lie inside of the slide, row by row."""
    columns, rows = (
        [round(number * step) for number in range(int((whole - side) / step + 1e-9) + 1)]
        for whole, side in zip(size, tile, strict=True)
        for step in [side * (1 - overlap)]
    )
    return [(x, y) for y in rows for x in columns]


def _tissue_share(
    tissue: np.ndarray, grid: list[tuple[int, int]], tile: tuple[float, float], size: tuple[int, int]
) -> np.ndarray:
    """(tiles,) share of each tile that the mask marks, to the nearest pixel of the mask."""
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
    return marked / ((right - left) * (bottom - top))


def _select(tiles: list[tuple[int, int]], settings: TileSettings, content: str) -> tuple[tuple[int, int], ...]:
    """At most `max_per_slide` tiles, drawn by the seed and the slide's content, in their order."""
    if settings.max_per_slide is None or len(tiles) <= settings.max_per_slide:
        return tuple(tiles)

    def rank(position: tuple[int, int]) -> bytes:
        return hashlib.sha256(f"{settings.seed} {content} {position}".encode()).digest()

    chosen = set(sorted(tiles, key=rank)[: settings.max_per_slide])
    return tuple(tile for tile in tiles if tile in chosen)
