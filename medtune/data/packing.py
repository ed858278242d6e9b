"""Every image decoded and checked once, and packed into one array file that training maps into memory."""

import hashlib
import os
import pickle
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from medtune.config.errors import InputError
from medtune.data.listing import image_path
from medtune.data.sample import Sample
from medtune.runtime.paths import RunPaths
from medtune.runtime.progress import progress
from medtune.serving.decode import DecodeError, decode, resize_square

IMAGES_FILE = "images.npy"
# Worker processes take a second or two to start: less work than this many seconds is done without them.
MIN_SECONDS_FOR_POOL = 15.0
_CHUNK = 16
_SHOWN = 5


@dataclass(frozen=True)
class PackResult:
    """What `pack` wrote and learnt.

    Attributes:
        selected: positions of the packed records in the list given, ascending; row i of the pack is record selected[i].
        sha256: of each packed image's pixels, hexadecimal.
        original_sizes: (width, height) of each original.
        rejected: (path, reason) of each record left out.
    """

    selected: tuple[int, ...]
    sha256: tuple[str, ...]
    original_sizes: tuple[tuple[int, int], ...]
    rejected: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Image:
    pixels: np.ndarray
    size: tuple[int, int]
    sha256: str


def pack(
    samples: Sequence[Sample],
    root: Path | None,
    folder: Path,
    size: int,
    resize: Literal["squash", "pad", "crop"],
    on_bad_image: Literal["error", "reject"],
    workers: int | None = None,
) -> PackResult:
    """Writes `folder`/images.npy, uint8 (kept, size, size, 3), in the order of `samples`; memory use is flat.

    Args:
        samples: what to pack.
        root: the source's root; a file that a link leads out of it is a bad image.
        folder: existing folder.
        size: side in pixels.
        resize: see medtune.serving.decode.resize_square.
        on_bad_image: error: refuse the set; reject: leave the image out and say so.
        workers: processes; None: as many as CPUs where the first images say that it takes long, else none.

    Raises:
        InputError: bad images, under `error`, with the number of them and the first few named; or none is left.
    """
    real_root = root.resolve() if root is not None else None
    jobs = [
        _Job(sample, None if sample.read or real_root is None else image_path(sample, real_root), real_root)
        for sample in samples
    ]
    selected: list[int] = []
    digests: list[str] = []
    sizes: list[tuple[int, int]] = []
    rejected: list[tuple[str, str]] = []
    with (folder / IMAGES_FILE).open("wb") as out, progress("decode", len(jobs), "images") as advance:
        _write_header(out, len(jobs), size)
        start = out.tell()
        for position, result in enumerate(_decode_all(jobs, size, resize, workers)):
            if isinstance(result, str):
                rejected.append((samples[position].path, result))
            else:
                out.write(result.pixels.tobytes())
                selected.append(position)
                digests.append(result.sha256)
                sizes.append(result.size)
            advance(1, f"{len(rejected)} bad" if rejected else "")
        out.seek(0)
        _write_header(out, len(selected), size)
        if out.tell() != start:
            raise RuntimeError("the header of images.npy changed its length")
    if rejected and on_bad_image == "error":
        shown = "; ".join(f"{path}: {reason}" for path, reason in rejected[:_SHOWN])
        more = f"; and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
        raise InputError(
            f"{len(rejected)} of {len(samples)} images cannot be used: {shown}{more}. Mend or remove them, or leave "
            "them out with data.on_bad_image=reject"
        )
    if not selected:
        path, reason = rejected[0]
        raise InputError(f"none of {len(samples)} images can be used; the first, {path}: {reason}")
    return PackResult(tuple(selected), tuple(digests), tuple(sizes), tuple(rejected))


@dataclass(frozen=True)
class _Job:
    sample: Sample
    file: Path | None
    root: Path | None

    def pixels(self) -> np.ndarray:
        if self.sample.read is not None:
            return self.sample.read()
        assert self.file is not None
        if self.root is not None:
            try:
                real = self.file.resolve()
            except (OSError, RuntimeError):  # Python before 3.13 raises the latter
                raise DecodeError("a link that leads in a circle") from None
            if not (real.is_relative_to(self.root) or real.is_relative_to(RunPaths.from_env().cache / "archives")):
                raise DecodeError("a link that leads out of the data root")
        return decode(self.file)


def _decode_one(job: _Job, size: int, resize: Literal["squash", "pad", "crop"]) -> _Image | str:
    """The fitted image, or why there is none."""
    try:
        original = job.pixels()
        pixels = np.ascontiguousarray(resize_square(original, size, resize))
    except DecodeError as error:
        return str(error)
    height, width = original.shape[:2]
    return _Image(pixels, (width, height), hashlib.sha256(pixels.data).hexdigest())


def _decode_chunk(jobs: Sequence[_Job], size: int, resize: Literal["squash", "pad", "crop"]) -> list[_Image | str]:
    return [_decode_one(job, size, resize) for job in jobs]


def _decode_all(
    jobs: Sequence[_Job], size: int, resize: Literal["squash", "pad", "crop"], workers: int | None
) -> Iterator[_Image | str]:
    """Results in the order of `jobs`; at most a few chunks are decoded ahead of the consumer."""
    first = jobs[: _CHUNK if workers is None else 0]
    begin = time.monotonic()
    yield from [_decode_one(job, size, resize) for job in first]
    jobs = jobs[len(first) :]
    if workers is None:
        expected_s = (time.monotonic() - begin) / max(len(first), 1) * len(jobs)
        workers = os.cpu_count() or 1 if expected_s > MIN_SECONDS_FOR_POOL else 0
    if workers < 2 or not jobs or not _is_picklable(jobs[0].sample):
        yield from (_decode_one(job, size, resize) for job in jobs)
        return
    # Not fork: the progress bar runs a thread, and a forked child may inherit a lock that nobody will release.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        ahead: deque[Future[list[_Image | str]]] = deque()
        try:
            for start in range(0, len(jobs), _CHUNK):
                ahead.append(pool.submit(_decode_chunk, jobs[start : start + _CHUNK], size, resize))
                if len(ahead) > 3 * workers:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        except BrokenProcessPool:
            raise RuntimeError("a decoding process was killed, most likely for want of memory") from None
        finally:
            for future in ahead:
                future.cancel()


def _is_picklable(sample: Sample) -> bool:
    """Whether another process can load it; a reader of an open file cannot be sent."""
    try:
        pickle.dumps(sample)
    except (TypeError, AttributeError, pickle.PicklingError):
        return False
    return True


def _write_header(out: BinaryIO, rows: int, size: int) -> None:
    # numpy pads its headers so that the first axis can change without moving the data.
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": (rows, size, size, 3)})
