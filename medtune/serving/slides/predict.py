"""Predictions of whole-slide images by a bundle, slide by slide; a few batches of tiles are in memory at a time."""

import csv
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import NamedTemporaryFile
from typing import Any, Protocol

import numpy as np

from medtune.serving import members
from medtune.serving.folder_scan import printable
from medtune.serving.output_file import open_output
from medtune.serving.pixels import DecodeError
from medtune.serving.slides import aggregate, tiling
from medtune.serving.slides.slide import CONVERT, OTHER_SUFFIXES, SUFFIXES, Slide
from medtune.serving.slides.tiling import TilePlan, TileSettings
from medtune.serving.tiff import SIGNATURES

COUNT = "tiles"
MPP_FIX = "Give it with --mpp"
NO_SINGLE_IMAGES = f"this bundle predicts whole-slide images ({', '.join(SUFFIXES)}), and no single images or tiles"


class TileModel(Protocol):
    """What a bundle of slides, `medtune.serving.bundle.Bundle`, gives."""

    @property
    def manifest(self) -> dict[str, Any]:
        """What bundle.json says."""

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the probabilities."""

    def run_members(self, images: np.ndarray) -> np.ndarray:
        """Outputs (n, M, ...) of tiles, uint8 (n, pixels, pixels, 3), as `medtune.serving.slides.aggregate` says."""

    def rows(self, output: np.ndarray) -> list[list[Any]]:
        """Prediction and probabilities of each row of `output`."""


@dataclass(frozen=True)
class SlidePrediction:
    """A predicted slide.

    Attributes:
        row: a value per entry of `Bundle.columns`, as `Bundle.rows` gives it.
        plan: its tiles.
        tiles: (n, classes) probabilities of each tile, not calibrated, in the order of `plan.positions`: the mean of
            the bundle's networks.
        attention: (n,) weight of each tile, summing to 1, the mean of the networks; None for a bundle that takes the
            mean of tiles.
    """

    row: list[Any]
    plan: TilePlan
    tiles: np.ndarray
    attention: np.ndarray | None = None


def check_is_slide(name: str) -> None:
    """Refuse a file that is no slide by its name.

    Raises:
        DecodeError: it is not.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise DecodeError(f"{suffix} files cannot be read. {CONVERT}")
    if suffix not in SUFFIXES:
        raise DecodeError(NO_SINGLE_IMAGES)


def predict_source(bundle: TileModel, source: object, batch_size: int = 32) -> SlidePrediction:
    """Predict a slide that is given as a path; errors, which name it, as for `predict_slide`."""
    if not isinstance(source, str | Path):
        raise DecodeError(f"{NO_SINGLE_IMAGES}; give the path of a slide")
    try:
        return predict_slide(bundle, Path(source), batch_size)
    except DecodeError as error:
        raise DecodeError(f"{source}: {error}") from None


def predict_upload(bundle: TileModel, name: str, content: bytes) -> SlidePrediction:
    """Predict a slide that is given as the content of its file; errors as for `predict_slide`."""
    suffix = PurePath(name).suffix.lower()
    if content[:4] not in SIGNATURES and suffix not in OTHER_SUFFIXES:
        raise DecodeError(NO_SINGLE_IMAGES)
    with NamedTemporaryFile(suffix=suffix if suffix in (*SUFFIXES, *OTHER_SUFFIXES) else ".tif") as file:
        file.write(content)
        file.flush()
        return predict_slide(bundle, Path(file.name))


def predict_slide(bundle: TileModel, path: Path, batch_size: int = 32, mpp: float | None = None) -> SlidePrediction:
    """Predict one slide with the tiles that training would have chosen.

    Args:
        bundle: a bundle of slides.
        path: the slide.
        batch_size: tiles that the network takes at once.
        mpp: micrometres per pixel of a slide whose file does not state it.

    Raises:
        DecodeError: the slide cannot be used; the message is the reason.
    """
    check_is_slide(path.name)
    settings, kind = TileSettings.from_document(bundle.manifest["tiles"]), bundle.manifest["aggregation"]
    with tiling.opened(path, mpp, MPP_FIX) as (slide, resolved):
        plan = tiling.plan_tiles(slide, settings, resolved)
        batches = _batches(slide, plan, settings, batch_size)
        outputs = np.concatenate([bundle.run_members(batch) for batch in batches])
    temperatures = members.temperatures(bundle.manifest)
    probabilities = aggregate.member_probabilities(outputs, kind, temperatures).mean(axis=0)
    attention = None
    if kind == aggregate.ATTENTION:
        attention = np.mean([aggregate.attention_weights(outputs[:, m]) for m in range(outputs.shape[1])], axis=0)
    tiles = aggregate.tile_probabilities(outputs, kind).mean(axis=1)
    return SlidePrediction(bundle.rows(probabilities[None])[0], plan, tiles, attention)


def _batches(slide: Slide, plan: TilePlan, settings: TileSettings, size: int) -> Iterator[np.ndarray]:
    """Tiles as uint8 (b, pixels, pixels, 3); the next batch is read while the network works."""

    def read(start: int) -> np.ndarray:
        chosen = plan.positions[start : start + size]
        return np.stack([tiling.read_tile(slide, position, settings, plan.mpp) for position in chosen])

    with ThreadPoolExecutor(1) as pool:
        starts = range(0, len(plan.positions), size)
        ahead = pool.submit(read, 0)
        for start in starts:
            batch = ahead.result()
            if start + size < len(plan.positions):
                ahead = pool.submit(read, start + size)
            yield batch


def predict_slides(
    bundle: TileModel, paths: Sequence[Path], batch_size: int, mpp: float | None, tiles_file: Path | None = None
) -> Iterator[tuple[Path, list[Any]]]:
    """Yield path and row of each slide that can be used, with the number of its tiles at the end of the row.

    Why a slide cannot be used is printed on stderr.

    Args:
        bundle: a bundle of slides.
        paths: slides.
        batch_size: tiles that the network takes at once.
        mpp: micrometres per pixel of slides whose files do not state it.
        tiles_file: CSV file to write with one line per tile: path, x, y, prob_CLASS, and attention where tiles are
            weighted by it.
    """
    weight = ["attention"] if bundle.manifest["aggregation"] == aggregate.ATTENTION else []
    with open_output(tiles_file) if tiles_file else nullcontext() as stream:
        writer = csv.writer(stream, lineterminator="\n") if stream else None
        if writer:
            writer.writerow(["path", "x", "y", *(f"prob_{name}" for name in bundle.classes), *weight])
        for path in paths:
            try:
                found = predict_slide(bundle, path, batch_size, mpp)
            except DecodeError as error:
                print(f"skipped {printable(str(path))}: {error}", file=sys.stderr, flush=True)
                continue
            if found.plan.absent[0]:
                absent, stored = found.plan.absent
                print(f"{printable(str(path))}: {absent:,} of {stored:,} stored tiles are absent and shown white",
                      file=sys.stderr, flush=True)  # fmt: skip
            if writer:
                lines = found.tiles if found.attention is None else np.column_stack([found.tiles, found.attention])
                for (x, y), values in zip(found.plan.positions, lines.tolist(), strict=True):
                    writer.writerow([printable(path.as_posix()), x, y, *(f"{value:.7f}" for value in values)])
            yield path, [*found.row, len(found.plan.positions)]
