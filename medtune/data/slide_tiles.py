"""Tiles of whole-slide images: one sample per tile, and one overview per slide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from medtune.config.errors import InputError, leave_out
from medtune.data.duplicates import Duplicates, find_duplicates
from medtune.data.manifest import SLIDE_COLUMN
from medtune.data.sample import Sample
from medtune.runtime.file_state import State, file_state
from medtune.runtime.progress import progress
from medtune.serving.pixels import DecodeError
from medtune.serving.resize import resize_square
from medtune.serving.slides import tiling
from medtune.serving.slides.slide import MissingReaderError, Slide, require_reader
from medtune.serving.slides.tile_settings import TileSettings
from medtune.serving.slides.tiling import TilePlan

COLUMNS = (SLIDE_COLUMN, "tile_x", "tile_y")
# Fix for a slide without micrometers per pixel (mpp).
MPP_FIX = "Set it with data.tiles.mpp, or per slide in a column of the table with data.tiles.mpp_column"
_THUMBNAIL = 128  # pixels
_SAME_OVERVIEW = 4.0  # mean difference of the pixels, 0 to 255. Recompressed slides differ by less
_SAME_MPP = 0.05  # relative difference. A scanner may state 0.2527 and a person 0.25
_SHOWN = 5


@dataclass(frozen=True)
class SlideTiles:
    """Slides and their tiles.

    Attributes:
        slides: slides that have tiles, in the original order.
        tiles: tiles of all slides, slide by slide.
        slide_index: (tiles,) int64 index into `slides` of each tile.
        plans: tile positions, tissue mask and overview (small image) of each slide.
        rejected: (path, reason) of each slide that was left out.
    """

    slides: list[Sample]
    tiles: list[Sample]
    slide_index: np.ndarray
    plans: list[TilePlan]
    rejected: tuple[tuple[str, str], ...] = ()

    def thumbnails(self) -> np.ndarray:
        """Return the overviews, resized to (slides, 128, 128, 3) uint8, to find duplicate slides."""
        return np.stack([resize_square(plan.overview, _THUMBNAIL, "pad") for plan in self.plans])

    def copies(self) -> Duplicates:
        """Find slides with equal content or nearly equal overviews.

        Overviews of different slides often have similar hashes, because all show tissue on glass. The pixels of near
        duplicates must therefore be similar, too.

        Returns:
            The duplicates, as indices into `slides`.
        """
        overviews = self.thumbnails()
        duplicates = find_duplicates(overviews, [plan.content for plan in self.plans])
        first, second = (overviews[duplicates.near[:, side]].astype(np.int16) for side in (0, 1))
        same = np.abs(first - second).mean(axis=(1, 2, 3)) <= _SAME_OVERVIEW
        return replace(duplicates, near=duplicates.near[same])

    def select(self, rows: Sequence[int]) -> "SlideTiles":
        """Keep the tiles with these indices, and the slides of these tiles."""
        slides, index = np.unique(self.slide_index[list(rows)], return_inverse=True)
        return replace(
            self,
            slides=[self.slides[number] for number in slides],
            tiles=[self.tiles[row] for row in rows],
            slide_index=index,
            plans=[self.plans[number] for number in slides],
        )

    def notes(self) -> list[str]:
        """Return a warning for readers of the metrics if slide files lack some of their pixels, otherwise nothing."""
        incomplete = [
            (slide.path, plan.absent) for slide, plan in zip(self.slides, self.plans, strict=True) if plan.absent[0]
        ]
        if not incomplete:
            return []
        path, (absent, stored) = incomplete[0]
        return [
            f"{len(incomplete):,} of {len(self.slides):,} slides lack stored tiles, which are shown white ({path}: "
            f"{absent:,} of {stored:,})."
        ]

    def report(self) -> list[dict[str, Any]]:
        """Return one entry per slide for report.json."""
        counts = np.bincount(self.slide_index, minlength=len(self.slides))
        return [
            {
                "path": slide.path,
                "tiles": int(count),
                "candidates": plan.n_candidates,
                "tissue": round(float(plan.tissue.mean()), 4),
                "mpp": list(plan.mpp),
                "size": list(plan.size),
                "level": plan.level,
                **({"absent_stored_tiles": plan.absent[0]} if plan.absent[0] else {}),
                "overview": f"slides/{overview_name(number, slide)}",
            }
            for number, (slide, plan, count) in enumerate(zip(self.slides, self.plans, counts, strict=True))
        ]


def cut_slides(
    slides: Sequence[Sample],
    root: Path,
    settings: TileSettings,
    mpp_of: Callable[[Sample], float | None],
    reject: bool = False,
    table_mpp_of: Callable[[Sample], float | None] = lambda slide: None,
) -> SlideTiles:
    """Choose the tiles of every slide by their tissue. The pixels of the tiles are read later.

    Args:
        slides: samples whose files are slides.
        root: the data root.
        settings: size, overlap and selection of tiles.
        mpp_of: returns the micrometers per pixel that the user set for a slide, or None. The file takes precedence.
        reject: True: leave out slides that cannot be used; False: raise an error.
        table_mpp_of: returns the micrometers per pixel in the user's table, or None. It must agree with the file.

    Returns:
        The slides and their tiles.

    Raises:
        InputError: zarr is not installed, a slide cannot be used and `reject` is False, or no slide can be used.
    """
    try:
        require_reader()
    except MissingReaderError as error:
        raise InputError(f"data.source=slides: {error}") from None
    selected: list[Sample] = []
    plans: list[TilePlan] = []
    rejected: list[tuple[str, str]] = []
    tiles: list[Sample] = []
    index: list[int] = []
    with progress("find tissue", len(slides), "slides") as advance:
        for slide in slides:
            file = slide.file or root / slide.path
            try:
                with tiling.open_slide(file, mpp_of(slide), MPP_FIX) as (opened, mpp):
                    _check_mpp(table_mpp_of(slide), opened.stated_mpp)
                    plan = tiling.plan_tiles(opened, settings, mpp)
            except DecodeError as error:
                rejected.append((slide.path, str(error)))
            else:
                index += [len(selected)] * len(plan.positions)
                selected.append(slide)
                plans.append(plan)
                tiles += [_tile(slide, file, position, settings, plan.mpp) for position in plan.positions]
            advance(1, f"{len(rejected)} unusable" if rejected else "")
    if rejected and (not reject or not selected):
        shown = "; ".join(f"{path}: {reason}" for path, reason in rejected[:_SHOWN])
        more = f"; and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
        fix = f". {leave_out(len(rejected))}" if selected else ""
        raise InputError(f"{len(rejected)} of {len(slides)} slides cannot be used: {shown}{more}{fix}")
    return SlideTiles(selected, tiles, np.array(index, np.int64), plans, tuple(rejected))


def _check_mpp(given: float | None, stated: tuple[float, float] | None) -> None:
    """Reject a slide if the table and the file state different micrometers per pixel."""
    if given is not None and stated is not None and max(abs(mpp / given - 1) for mpp in stated) > _SAME_MPP:
        raise DecodeError(
            f"the table states {given:g} micrometers per pixel (data.tiles.mpp_column), but the file states "
            f"{max(stated):g}. Correct the wrong value"
        )


def write_overviews(folder: Path, tiles: SlideTiles) -> None:
    """Write one PNG per slide, with the outline of the tissue in green and the tiles in blue."""
    folder.mkdir()
    for number, (slide, plan) in enumerate(zip(tiles.slides, tiles.plans, strict=True)):
        draw_overview(plan).save(folder / overview_name(number, slide))


def overview_name(number: int, slide: Sample) -> str:
    """Return the file name of a slide's overview."""
    stem = "".join(character if character.isalnum() else "_" for character in Path(slide.path).stem)
    return f"{number:04}-{stem[:60]}.png"


def draw_overview(plan: TilePlan) -> Image.Image:
    """Draw the overview of a slide with the outline of its tissue and its tiles."""
    image = Image.fromarray(plan.overview)
    mask = np.asarray(Image.fromarray(plan.tissue).resize(image.size, Image.Resampling.NEAREST))
    edge = np.zeros_like(mask)
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    image.paste((0, 160, 0), mask=Image.fromarray(edge))
    pen = ImageDraw.Draw(image)
    scale = [side / full_side for side, full_side in zip(image.size, plan.size, strict=True)]
    for position in plan.positions:
        left, top = (start * factor for start, factor in zip(position, scale, strict=True))
        right, bottom = (
            (start + side) * factor - 1 for start, side, factor in zip(position, plan.tile, scale, strict=True)
        )
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=(0, 0, 220))
    return image


def _tile(
    slide: Sample, file: Path, position: tuple[int, int], settings: TileSettings, mpp: tuple[float, float]
) -> Sample:
    """Return the sample of the tile at a position (x, y) in pixels of the slide."""
    x, y = position
    return replace(
        slide,
        path=f"{slide.path}#x={x},y={y}",
        metadata={**slide.metadata, **dict(zip(COLUMNS, (slide.path, str(x), str(y)), strict=True))},
        read=partial(_read_tile, str(file), position, settings, mpp),
        file=None,
    )


def _read_tile(file: str, position: tuple[int, int], settings: TileSettings, mpp: tuple[float, float]) -> np.ndarray:
    try:
        state = file_state(Path(file))
    except OSError as error:
        raise DecodeError(f"cannot be read: {error.strerror}") from None
    return tiling.read_tile(_open(Path(file), state), position, settings, mpp)


@lru_cache(maxsize=1)
def _open(file: Path, state: State) -> Slide:
    """Open a slide, which stays open for its next tiles. A changed file has another `state` and is opened again."""
    return Slide(file)
