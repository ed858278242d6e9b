"""Prediction of whole-slide images from their tiles. Only a few batches of tiles are in memory."""

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
from medtune.serving.slides.tile_settings import TileSettings
from medtune.serving.slides.tiling import TilePlan
from medtune.serving.tiff import SIGNATURES

COUNT = "tiles"
MPP_FIX = "Give it with --mpp"
NO_SINGLE_IMAGES = f"this bundle predicts whole-slide images ({', '.join(SUFFIXES)}), not single images or tiles"


class TileModel(Protocol):
    """Interface of a bundle for slides (`medtune.serving.bundle.Bundle`)."""

    @property
    def manifest(self) -> dict[str, Any]:
        """Content of bundle.json."""

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the probabilities."""

    def run_members(self, images: np.ndarray) -> np.ndarray:
        """Compute the outputs (n, M, ...) of M networks for n tiles, uint8 (n, pixels, pixels, 3)."""

    def rows(self, output: np.ndarray) -> list[list[Any]]:
        """Convert probabilities (n, classes) to one list per slide: the prediction and the probabilities."""


@dataclass(frozen=True)
class SlidePrediction:
    """A predicted slide.

    Attributes:
        row: one value per name in `Bundle.columns`, from `Bundle.rows`.
        plan: positions of the tiles of the slide.
        tiles: uncalibrated probabilities (n, classes) per tile, averaged over the networks, in the order of
            `plan.positions`.
        attention: weight (n,) per tile, averaged over the networks. The sum is 1. None for a bundle without attention.
    """

    row: list[Any]
    plan: TilePlan
    tiles: np.ndarray
    attention: np.ndarray | None = None


def check_is_slide(name: str) -> None:
    """Check that a file name has the suffix of a supported slide format.

    Args:
        name: name of the file.

    Raises:
        DecodeError: the suffix is not supported.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise DecodeError(f"{suffix} files cannot be read. {CONVERT}")
    if suffix not in SUFFIXES:
        raise DecodeError(NO_SINGLE_IMAGES)


def predict_source(bundle: TileModel, source: object, batch_size: int = 32) -> SlidePrediction:
    """Predict a slide that is given as a path.

    Args:
        bundle: a bundle for slides.
        source: path of the slide.
        batch_size: number of tiles per run of the network.

    Returns:
        The prediction.

    Raises:
        DecodeError: the source is not a path, or the slide cannot be used. The message names the slide.
    """
    if not isinstance(source, str | Path):
        raise DecodeError(f"{NO_SINGLE_IMAGES}. Use the path of a slide")
    try:
        return predict_slide(bundle, Path(source), batch_size)
    except DecodeError as error:
        raise DecodeError(f"{source}: {error}") from None


def predict_upload(bundle: TileModel, name: str, content: bytes) -> SlidePrediction:
    """Predict a slide that is given as the content of its file.

    Args:
        bundle: a bundle for slides.
        name: name of the uploaded file.
        content: bytes of the file.

    Returns:
        The prediction.

    Raises:
        DecodeError: the content is not a slide or cannot be used.
    """
    suffix = PurePath(name).suffix.lower()
    if content[:4] not in SIGNATURES and suffix not in OTHER_SUFFIXES:
        raise DecodeError(NO_SINGLE_IMAGES)
    with NamedTemporaryFile(suffix=suffix if suffix in (*SUFFIXES, *OTHER_SUFFIXES) else ".tif") as file:
        file.write(content)
        file.flush()
        return predict_slide(bundle, Path(file.name))


def predict_slide(bundle: TileModel, path: Path, batch_size: int = 32, mpp: float | None = None) -> SlidePrediction:
    """Predict one slide. Its tiles are selected as in training.

    Args:
        bundle: a bundle for slides.
        path: path of the slide.
        batch_size: number of tiles per run of the network.
        mpp: micrometers per pixel, for a file that does not contain this value.

    Returns:
        The prediction.

    Raises:
        DecodeError: the slide cannot be used. The message is the reason.
    """
    check_is_slide(path.name)
    settings, kind = TileSettings.from_document(bundle.manifest["tiles"]), bundle.manifest["aggregation"]
    with tiling.open_slide(path, mpp, MPP_FIX) as (slide, resolved):
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
    """Yield batches of tiles, uint8 (b, pixels, pixels, 3). The next batch is read while the network computes."""

    def read(start: int) -> np.ndarray:
        positions = plan.positions[start : start + size]
        return np.stack([tiling.read_tile(slide, position, settings, plan.mpp) for position in positions])

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
    """Predict slides. If a slide cannot be used, the reason is printed on stderr.

    Args:
        bundle: a bundle for slides.
        paths: paths of the slides.
        batch_size: number of tiles per run of the network.
        mpp: micrometers per pixel of slides whose files do not contain this value.
        tiles_file: CSV file to write, with the columns path, x, y, prob_CLASS, and for some bundles attention. It gets
            one line per tile. None for no such file.

    Yields:
        The path and the row of each slide that can be used. The last value of the row is the number of tiles.
    """
    weight = ["attention"] if bundle.manifest["aggregation"] == aggregate.ATTENTION else []
    with open_output(tiles_file) if tiles_file else nullcontext() as stream:
        writer = csv.writer(stream, lineterminator="\n") if stream else None
        if writer:
            writer.writerow(["path", "x", "y", *(f"prob_{name}" for name in bundle.classes), *weight])
        for path in paths:
            try:
                slide = predict_slide(bundle, path, batch_size, mpp)
            except DecodeError as error:
                print(f"skipped {printable(str(path))}: {error}", file=sys.stderr, flush=True)
                continue
            if slide.plan.absent[0]:
                absent, stored = slide.plan.absent
                print(f"{printable(str(path))}: {absent:,} of {stored:,} stored tiles are missing and shown in white",
                      file=sys.stderr, flush=True)  # fmt: skip
            if writer:
                lines = slide.tiles if slide.attention is None else np.column_stack([slide.tiles, slide.attention])
                for (x, y), values in zip(slide.plan.positions, lines.tolist(), strict=True):
                    writer.writerow([printable(path.as_posix()), x, y, *(f"{value:.7f}" for value in values)])
            yield path, [*slide.row, len(slide.plan.positions)]
