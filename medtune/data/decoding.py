"""Images decoded and made square, in this process or in several, each once."""

import errno
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
from typing import NamedTuple

import numpy as np

from medtune.config.data import IntensityParams
from medtune.data.intensity import PixelRange, measure
from medtune.data.sample import Sample
from medtune.runtime.paths import RunPaths
from medtune.serving.decode import decode
from medtune.serving.intensity import Intensity, shrink
from medtune.serving.pixels import DecodedImage, DecodeError
from medtune.serving.resize import Resize

# Worker processes take a second or two to start: less work than this many seconds is done without them.
MIN_SECONDS_FOR_POOL = 15.0
_CHUNK = 16


@dataclass(frozen=True)
class FittedImage:
    """One decoded image, square, and what is known of its original."""

    pixels: np.ndarray  # uint8 (S, S, 3); float32 (S, S) or (S, S, 3) if more than 8 bits
    size: tuple[int, int]
    sha256: str
    values: PixelRange | None
    inverted: bool
    value_range: tuple[float, float] | None  # of this image, where an earlier data set decides


class Fit(NamedTuple):
    """How every image is decoded, checked and resized."""

    size: int
    resize: Resize
    apply_voi: bool
    intensity: IntensityParams | Intensity


@dataclass(frozen=True)
class DecodeJob:
    """An image to decode: from its file, which must lie in the data root, or from the reader of its sample."""

    sample: Sample
    file: Path | None
    root: Path | None

    def decode(self, apply_voi: bool) -> DecodedImage:
        """The pixels of the image.

        Raises:
            DecodeError: the file cannot be used, or is a link that leads out of the data root.
        """
        if self.sample.read is not None:
            return DecodedImage(self.sample.read())
        assert self.file is not None
        if self.root is not None:
            try:
                real = self.file.resolve(strict=True)
            except FileNotFoundError:
                raise DecodeError("the file does not exist") from None
            except RuntimeError:  # what Python before 3.13 raises for ELOOP
                raise DecodeError("a link that leads in a circle") from None
            except OSError as error:
                circle = error.errno == errno.ELOOP
                reason = "a link that leads in a circle" if circle else f"cannot be read: {error.strerror}"
                raise DecodeError(reason) from None
            if not (real.is_relative_to(self.root) or real.is_relative_to(RunPaths.from_env().cache / "archives")):
                raise DecodeError("a link that leads out of the data root")
        return decode(self.file, apply_voi, self.sample.frame)


def _decode_one(job: DecodeJob, fit: Fit) -> FittedImage | str:
    """The fitted image, or why there is none."""
    try:
        image = job.decode(fit.apply_voi)
        earlier = fit.intensity if isinstance(fit.intensity, Intensity) else None
        values = measure(image, fit.intensity)
        value_range = earlier.range_for(image) if earlier is not None else None
        pixels = np.ascontiguousarray(shrink(image, fit.size, fit.resize))
    except DecodeError as error:
        return str(error)
    return FittedImage(pixels, image.size, hashlib.sha256(pixels.data).hexdigest(), values, image.inverted, value_range)


def _decode_chunk(jobs: Sequence[DecodeJob], fit: Fit) -> list[FittedImage | str]:
    return [_decode_one(job, fit) for job in jobs]


def decode_all(jobs: Sequence[DecodeJob], fit: Fit, workers: int | None) -> Iterator[FittedImage | str]:
    """Results in the order of `jobs`; at most a few chunks are decoded ahead of the consumer."""
    first = jobs[: _CHUNK if workers is None else 0]
    begin = time.monotonic()
    yield from [_decode_one(job, fit) for job in first]
    jobs = jobs[len(first) :]
    if workers is None:
        expected_s = (time.monotonic() - begin) / max(len(first), 1) * len(jobs)
        workers = os.cpu_count() or 1 if expected_s > MIN_SECONDS_FOR_POOL else 0
    if workers < 2 or not jobs or not _is_picklable(jobs[0].sample):
        yield from (_decode_one(job, fit) for job in jobs)
        return
    # Not fork: the progress bar runs a thread, and a forked child may inherit a lock that nobody will release.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        ahead: deque[Future[list[FittedImage | str]]] = deque()
        try:
            for start in range(0, len(jobs), _CHUNK):
                ahead.append(pool.submit(_decode_chunk, jobs[start : start + _CHUNK], fit))
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
