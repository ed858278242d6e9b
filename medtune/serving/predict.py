"""`python -m medtune.serving.predict BUNDLE PATH... [--out FILE.csv]`: class probabilities of image files, as CSV.

Exit code 0: all images predicted; 1: some could not be read (each named on stderr, the others predicted);
2: the bundle, the provider or a path is wrong.
"""

import argparse
import csv
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from medtune.serving.bundle import PROVIDERS, SAMPLE_TOLERANCE, Bundle, BundleError
from medtune.serving.decode import SUFFIXES, DecodeError
from medtune.serving.progress import Progress


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Files as given, and the image files under folders, each folder's sorted; none twice.

    Raises:
        BundleError: a path does not exist, or a folder has no image.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [Path(root, name) for root, _, names in os.walk(path) for name in names]
            images = sorted(p for p in inside if p.suffix.lower() in SUFFIXES)
            if not images:
                raise BundleError(f"no images under {path}: looked for {' '.join(SUFFIXES)}")
            found += images
        elif path.exists():
            found.append(path)
        else:
            raise BundleError(f"{path} does not exist")
    return list(dict.fromkeys(found))


def read_images(bundle: Bundle, paths: Sequence[Path], workers: int, ahead: int) -> Iterator[tuple[Path, np.ndarray]]:
    """Path and uint8 (H, W, 3), in order, decoded on `workers` threads at most `ahead` images in advance.

    A file that cannot be used comes with an empty array; why is printed on stderr.
    """

    def read(path: Path) -> np.ndarray:
        try:
            return bundle.prepare(path)
        except DecodeError as error:
            print(f"skipped {path}: {error}", file=sys.stderr, flush=True)
            return np.empty(0, np.uint8)

    waiting: deque[tuple[Path, Future[np.ndarray]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for path in paths:
            waiting.append((path, pool.submit(read, path)))
            if len(waiting) > ahead:
                done, image = waiting.popleft()
                yield done, image.result()
        for done, image in waiting:
            yield done, image.result()


def predict_files(
    bundle: Bundle, paths: Sequence[Path], batch_size: int = 32, workers: int = 4
) -> Iterator[tuple[Path, str, np.ndarray]]:
    """Path, predicted class and (classes,) probabilities of each readable image, in order.

    Decoding runs ahead while the network works: both leave Python's lock to the others meanwhile.
    """
    waiting: list[Path] = []
    # One buffer for all batches: the network is done with one before the next is filled.
    batch = np.empty((min(batch_size, len(paths)), bundle.image_size, bundle.image_size, 3), np.uint8)

    def flush() -> Iterator[tuple[Path, str, np.ndarray]]:
        probabilities = bundle.predict(batch[: len(waiting)])
        yield from zip(waiting, bundle.decide(probabilities), probabilities, strict=True)
        waiting.clear()

    for path, image in read_images(bundle, paths, workers, ahead=2 * batch_size):
        if image.size:
            batch[len(waiting)] = image
            waiting.append(path)
        if len(waiting) == batch_size:
            yield from flush()
    if waiting:
        yield from flush()


@contextmanager
def output(path: Path | None) -> Iterator[TextIO]:
    """stdout, or a file that appears whole at the end or not at all.

    Raises:
        BundleError: the file cannot be written there.
    """
    if path is None:
        yield sys.stdout
        return
    if path.is_dir():
        raise BundleError(f"--out {path} is a folder; name a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        stream = temporary.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise BundleError(f"--out {path} cannot be written: {error.strerror}") from None
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; argparse exits 2 where it is wrong."""

    def positive(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 on")
        return int(text)

    parser = argparse.ArgumentParser(
        "python -m medtune.serving.predict",
        description="Class probabilities of images, as CSV: path,prediction,prob_<class>.",
    )
    parser.add_argument("bundle", type=Path, help="exported folder (artifacts/export)")
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="image files or folders of images")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="default: stdout")
    parser.add_argument("--precision", default="fp32", choices=SAMPLE_TOLERANCE)
    parser.add_argument("--provider", default="cpu", choices=PROVIDERS)
    parser.add_argument("--batch-size", type=positive, default=32, metavar="N")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads; default: all cores")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Predicts from the command line and gives the exit code."""
    args = parse(argv)
    try:
        paths = find_images(args.paths)
        # Threads that wait busily between two batches would take the cores that decode the next one.
        bundle = Bundle.load(args.bundle, args.precision, args.provider, args.threads or 0, spin=False)
        print(f"{args.precision} on {', '.join(bundle.providers)}", file=sys.stderr, flush=True)
        progress = Progress(len(paths))
        with output(args.out) as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(["path", "prediction", *(f"prob_{name}" for name in bundle.classes)])
            for path, decision, row in predict_files(bundle, paths, args.batch_size, args.threads or 4):
                rows.writerow([path.as_posix(), decision, *(f"{value:.7f}" for value in row)])
                progress.advance()
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of stdout (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    seconds, skipped = progress.seconds, len(paths) - progress.done
    print(f"{progress.done} images in {seconds:.1f} s ({progress.done / seconds:,.0f} images/s)"
          + (f", {skipped} skipped" if skipped else ""), file=sys.stderr)  # fmt: skip
    return 1 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
