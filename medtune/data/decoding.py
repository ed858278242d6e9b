"""Decoding and resizing of images, in this process or in several processes."""

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

# A pool of processes is used only if decoding is expected to take longer, because its start takes one or two seconds.
MIN_SECONDS_FOR_POOL = 15.0
# Images that a worker process decodes at once.
_CHUNK = 16


@dataclass(frozen=True)
class FittedImage:
    """Image after decoding and resizing to a square, with properties of the original.

    Attributes:
        pixels: (S, S, 3) uint8; for images of more than 8 bits, (S, S) or (S, S, 3) float32.
        size: width and height of the original.
        sha256: digest of `pixels`.
        values: range of the original pixel values; None for images of 8 bits.
        inverted: True if the lowest value is white.
        value_range: values that become 0 and 255; None if all images together determine them, see
            `medtune.data.intensity.resolve`.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    sha256: str
    values: PixelRange | None
    inverted: bool
    value_range: tuple[float, float] | None


class Fit(NamedTuple):
    """Options for decoding, checking and resizing images.

    Attributes:
        size: side of the resized image in pixels.
        resize: how an image becomes a square.
        apply_voi: apply the display window (VOI LUT) of DICOM files.
        intensity: section `data.intensity`, or the intensity range of an earlier data set.
    """

    size: int
    resize: Resize
    apply_voi: bool
    intensity: IntensityParams | Intensity


@dataclass(frozen=True)
class DecodeJob:
    """Image to decode.

    Attributes:
        sample: the sample.
        file: image file; None if `sample.read` returns the pixels.
        root: absolute data root, which must contain the file; None: the file may be anywhere.
    """

    sample: Sample
    file: Path | None
    root: Path | None

    def decode(self, apply_voi: bool) -> DecodedImage:
        """Decode the image.

        Args:
            apply_voi: apply the display window of DICOM files.

        Returns:
            The decoded image at its original size.

        Raises:
            DecodeError: the file cannot be decoded, or is a link to a file outside of the data root.
        """
        if self.sample.read is not None:
            return DecodedImage(self.sample.read())
        assert self.file is not None
        if self.root is not None:
            try:
                real = self.file.resolve(strict=True)
            except FileNotFoundError:
                raise DecodeError("the file does not exist") from None
            except RuntimeError:  # Python before 3.13 raises this for ELOOP
                raise DecodeError("a circular link") from None
            except OSError as error:
                reason = "a circular link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
                raise DecodeError(reason) from None
            if not (real.is_relative_to(self.root) or real.is_relative_to(RunPaths.from_env().cache / "archives")):
                raise DecodeError("a link to a file outside of the data root")
        return decode(self.file, apply_voi, self.sample.frame)


def _decode_one(job: DecodeJob, fit: Fit) -> FittedImage | str:
    """Return the resized image, or the reason why it cannot be used."""
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
    """Decode images in order. Few images are decoded in advance, so memory use does not depend on their number.

    Args:
        jobs: the images.
        fit: options for decoding and resizing.
        workers: number of worker processes; below 2: this process only. None: one per CPU if the first images are
            slow, otherwise this process only.

    Yields:
        The resized image, or the reason why it cannot be used.

    Raises:
        RuntimeError: a decoding worker was killed.
    """
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
    # "spawn", because the progress bar runs a thread and a forked child may inherit a lock that is never released.
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
            raise RuntimeError(
                "a decoding worker was killed (probably out of memory). Free memory, then run again"
            ) from None
        finally:
            for future in ahead:
                future.cancel()


def _is_picklable(sample: Sample) -> bool:
    """Return True if the sample can be sent to another process."""
    try:
        pickle.dumps(sample)
    except (TypeError, AttributeError, pickle.PicklingError):
        return False
    return True
