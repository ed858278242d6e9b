"""Prediction of image files and slides, with output as CSV or JSON (`medtune predict`)."""

import csv
import json
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from medtune.serving.bundle import Bundle
from medtune.serving.decode import SUFFIXES
from medtune.serving.folder_scan import FolderContent, count_types, format_counts, printable, scan_folder
from medtune.serving.manifest import BundleError
from medtune.serving.masks import find_masks
from medtune.serving.output_file import open_output
from medtune.serving.pixels import DecodeError
from medtune.serving.progress import ProgressLog
from medtune.serving.slides.predict import COUNT, predict_slides

_MAX_SHOWN = 6


def find_images(paths: Sequence[Path], suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """List the given files and the images in the given folders.

    Hidden files, system files, files of other types, and linked folders are skipped (see `left_out`).

    Args:
        paths: files and folders.
        suffixes: lower-case file suffixes of images.

    Returns:
        The files without duplicates. Images of a folder are sorted.

    Raises:
        BundleError: a path does not exist, or a folder contains no image or cannot be read.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            images = _scan(path, suffixes).images
            if not images:
                lines = "; ".join(["", *left_out([path], suffixes)])
                raise BundleError(f"no images under {path}: looked for {' '.join(suffixes)}{lines}. Use another path")
            files += [path / name for name in images]
        elif path.exists():
            files.append(path)
        else:
            raise BundleError(f"{path} does not exist. Check the path")
    return list(dict.fromkeys(files))


def left_out(paths: Sequence[Path], suffixes: tuple[str, ...] = SUFFIXES) -> list[str]:
    """Describe the files that `find_images` skips, and images that look like masks.

    Args:
        paths: files and folders.
        suffixes: lower-case file suffixes of images.

    Returns:
        Up to two lines per folder.

    Raises:
        BundleError: a folder cannot be read.
    """
    lines = []
    for folder in dict.fromkeys(path for path in paths if path.is_dir()):
        content, name = _scan(folder, suffixes), printable(str(folder))
        by_folder: defaultdict[str, list[str]] = defaultdict(list)
        for file in content.others:
            by_folder[Path(file).parent.as_posix()].append(file)
        parts = [f"{format_counts(count_types(files))} in {printable(at)}" for at, files in sorted(by_folder.items())]
        if content.system:
            parts.append(f"system files: {format_counts(count_types(content.system))}")
        if content.links:
            parts.append(f"linked folders: {', '.join(map(printable, content.links[:_MAX_SHOWN]))}")
        if parts:
            more = f"; and {len(parts) - _MAX_SHOWN} more" if len(parts) > _MAX_SHOWN else ""
            lines.append(f"{name}: left out: {'; '.join(parts[:_MAX_SHOWN])}{more}")
        if masks := find_masks(content.images):
            lines.append(f"{name}: {len(masks):,} images look like masks of others, for example {printable(masks[0])}")
    return lines


def _scan(folder: Path, suffixes: tuple[str, ...]) -> FolderContent:
    try:
        return scan_folder(folder, suffixes)
    except OSError as error:
        raise BundleError(f"{error.filename} cannot be read: {error.strerror}. Check the permissions") from None


def read_images(bundle: Bundle, paths: Sequence[Path], workers: int, ahead: int) -> Iterator[tuple[Path, np.ndarray]]:
    """Decode images on several threads.

    Args:
        bundle: the loaded bundle.
        paths: image files.
        workers: number of threads.
        ahead: maximum number of images that are decoded in advance.

    Yields:
        The path and the pixels, uint8 (H, W, 3), of each image in order. If a file cannot be used, the array is empty,
        and the reason is printed on stderr.
    """

    def read(path: Path) -> np.ndarray:
        try:
            return bundle.prepare(path)
        except DecodeError as error:
            print(f"skipped {printable(str(path))}: {error}", file=sys.stderr, flush=True)
            return np.empty(0, np.uint8)

    waiting: deque[tuple[Path, Future[np.ndarray]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for path in paths:
            waiting.append((path, pool.submit(read, path)))
            if len(waiting) > ahead:
                next_path, image = waiting.popleft()
                yield next_path, image.result()
        for next_path, image in waiting:
            yield next_path, image.result()


def predict_files(
    bundle: Bundle, paths: Sequence[Path], batch_size: int = 32, workers: int = 4
) -> Iterator[tuple[Path, list[Any]]]:
    """Predict image files. Threads decode the next images while the network computes.

    Args:
        bundle: the loaded bundle.
        paths: image files.
        batch_size: number of images per run of the network.
        workers: number of decoding threads.

    Yields:
        The path and the row (see `Bundle.rows`) of each readable image, in order.
    """
    waiting: list[Path] = []
    # All batches share one buffer. A batch is predicted before the next batch is written to the buffer.
    batch = np.empty((min(batch_size, len(paths)), bundle.image_size, bundle.image_size, 3), np.uint8)

    def flush() -> Iterator[tuple[Path, list[Any]]]:
        yield from zip(waiting, bundle.rows(bundle.run(batch[: len(waiting)])), strict=True)
        waiting.clear()

    for path, image in read_images(bundle, paths, workers, ahead=2 * batch_size):
        if image.size:
            batch[len(waiting)] = image
            waiting.append(path)
        if len(waiting) == batch_size:
            yield from flush()
    if waiting:
        yield from flush()


def write_predictions(
    bundle: Bundle,
    images: Sequence[Path],
    out: Path | None = None,
    batch_size: int = 32,
    workers: int = 4,
    as_json: bool = False,
    mpp: float | None = None,
    tiles_file: Path | None = None,
) -> int:
    """Write the predictions of all readable images.

    Args:
        bundle: the loaded bundle.
        images: image files.
        out: output file (see `open_output`), or None for stdout.
        batch_size: number of images per run of the network.
        workers: number of decoding threads.
        as_json: write a JSON list of objects. If False, write CSV with the columns path, prediction and prob_CLASS.
        mpp: micrometers per pixel of slides whose files do not contain this value.
        tiles_file: CSV file for the predictions of tiles (see `medtune.serving.slides.predict.predict_slides`).

    Returns:
        The number of images that could not be read.

    Raises:
        BundleError: a file cannot be written.
    """
    unit = "slides" if bundle.is_for_slides else "images"
    progress = ProgressLog(len(images), unit=unit)
    with open_output(out) as stream:
        write_row, finish = _json_writer(stream, bundle) if as_json else _csv_writer(stream, bundle)
        try:
            if bundle.is_for_slides:
                predicted = predict_slides(bundle, images, batch_size, mpp, tiles_file)
            else:
                predicted = predict_files(bundle, images, batch_size, workers)
            for path, row in predicted:
                write_row(path, row)
                progress.advance()
        finally:
            finish()
    seconds, skipped = progress.seconds, len(images) - progress.done
    rate = f"{progress.done / seconds:,.{1 if bundle.is_for_slides else 0}f}"
    print(f"{progress.done} {unit} in {seconds:.1f} s ({rate} {unit}/s)"
          + (f", {skipped} skipped" if skipped else ""), file=sys.stderr)  # fmt: skip
    return skipped


WriteRow = Callable[[Path, list[Any]], None]


def _csv_writer(stream: TextIO, bundle: Bundle) -> tuple[WriteRow, Callable[[], None]]:
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["path", *bundle.columns, *([COUNT] if bundle.is_for_slides else [])])

    def write_row(path: Path, row: list[Any]) -> None:
        rows.writerow(
            [printable(path.as_posix()), *(f"{value:.7f}" if isinstance(value, float) else value for value in row)]
        )

    return write_row, lambda: None


def _json_writer(stream: TextIO, bundle: Bundle) -> tuple[WriteRow, Callable[[], None]]:
    """Return functions that write an entry, and the end, of a JSON list.

    The list is written entry by entry, because all predictions may not fit in memory.
    """
    before = "["

    def write_row(path: Path, row: list[Any]) -> None:
        nonlocal before
        rounded = [round(value, 7) if isinstance(value, float) else value for value in row]
        count = {COUNT: rounded.pop()} if bundle.is_for_slides else {}
        entry = {"path": printable(path.as_posix()), **bundle.task.entry(rounded, bundle.manifest), **count}
        stream.write(f"{before}\n  {json.dumps(entry, ensure_ascii=False)}")
        before = ","

    return write_row, lambda: print("[]" if before == "[" else "\n]", file=stream)
