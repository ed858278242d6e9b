"""Packing of all images into one array file, which training maps into memory."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from medtune.config.data import IntensityParams
from medtune.config.errors import InputError, leave_out
from medtune.data.decoding import DecodeJob, Fit, FittedImage, decode_all
from medtune.data.intensity import applies_voi, describe, describe_confounding, resolve
from medtune.data.listing import image_path
from medtune.data.sample import Sample
from medtune.runtime.progress import progress
from medtune.serving.intensity import Intensity, to_uint8
from medtune.serving.resize import Resize

IMAGES_FILE = "images.npy"
_SHOWN = 5


@dataclass(frozen=True)
class PackResult:
    """Result of `pack`.

    Attributes:
        selected: indices of the packed samples, ascending. Row i of the array contains sample `selected[i]`.
        sha256: digest of the pixels of each packed image, hexadecimal.
        original_sizes: (width, height) of each original in pixels.
        rejected: (path, reason) of each image that was left out.
        intensity: scaling of images with more than 8 bits.
        notes: warnings about the scaling, one sentence each.
    """

    selected: tuple[int, ...]
    sha256: tuple[str, ...]
    original_sizes: tuple[tuple[int, int], ...]
    rejected: tuple[tuple[str, str], ...]
    intensity: Intensity
    notes: tuple[str, ...]


def pack(
    samples: Sequence[Sample],
    root: Path | None,
    folder: Path,
    size: int,
    resize: Resize,
    on_bad_image: Literal["error", "reject"],
    intensity: IntensityParams | Intensity | None = None,
    workers: int | None = None,
) -> PackResult:
    """Decode every image once and write images.npy, (selected, size, size, 3) uint8, in the order of `samples`.

    Memory use does not depend on the number of images. The scaling of images of more than 8 bits depends on the values
    of all images. A temporary file therefore stores them until all images are decoded.

    Args:
        samples: images to pack.
        root: the data root. A link to a file outside of it is a bad image.
        folder: existing folder for images.npy.
        size: side of a packed image in pixels.
        resize: see medtune.serving.resize.resize_square.
        on_bad_image: error: reject the data set; reject: leave the image out and report it.
        intensity: section `data.intensity`, or the intensity range of an earlier data set. An image that does not fit
            an earlier range is a bad image. None: the default of the section.
        workers: number of worker processes, see `decode_all`.

    Returns:
        The packed images.

    Raises:
        InputError: there are bad images and `on_bad_image` is error, all images are bad, or the range of the values is
            unknown.
        RuntimeError: the header of the array file changed its length.
    """
    real_root = root.resolve() if root is not None else None
    jobs = [
        DecodeJob(sample, None if sample.read or real_root is None else image_path(sample, real_root), real_root)
        for sample in samples
    ]
    scaling = intensity or IntensityParams()
    fit = Fit(size, resize, scaling.apply_voi if isinstance(scaling, Intensity) else applies_voi(scaling), scaling)
    selected: list[int] = []
    images: list[FittedImage] = []
    rejected: list[tuple[str, str]] = []
    waiting = folder / f".{IMAGES_FILE}.deep"
    with (
        (folder / IMAGES_FILE).open("wb") as out,
        waiting.open("wb") as deep,
        progress("decode", len(jobs), "images") as advance,
    ):
        _write_header(out, len(jobs), size)
        start = out.tell()
        for position, result in enumerate(decode_all(jobs, fit, workers)):
            if isinstance(result, str):
                rejected.append((samples[position].path, result))
            else:
                is_deep = result.pixels.dtype != np.uint8
                out.write(bytes(size * size * 3) if is_deep else result.pixels.tobytes())
                if is_deep:
                    np.save(deep, result.pixels)
                selected.append(position)
                images.append(replace(result, pixels=np.empty(0)))
            advance(1, f"{len(rejected)} unusable" if rejected else "")
        out.seek(0)
        _write_header(out, len(selected), size)
        if out.tell() != start:
            raise RuntimeError("the header of images.npy changed its length")
    check_rejected(rejected, len(samples), on_bad_image, bool(selected))
    ranges = [image.values for image in images]
    resolved = scaling if isinstance(scaling, Intensity) else resolve(scaling, ranges)
    digests = list(_scale_deep(folder / IMAGES_FILE, waiting, images, resolved))
    waiting.unlink()
    labels = [samples[row].label if samples[row].findings is None else "" for row in selected]
    notes = describe(resolved, ranges), describe_confounding(labels, ranges)
    return PackResult(
        tuple(selected),
        tuple(digests),
        tuple(image.size for image in images),
        tuple(rejected),
        resolved,
        tuple(note for note in notes if note),
    )


def check_rejected(
    rejected: Sequence[tuple[str, str]], total: int, on_bad_image: str, some_left: bool, unit: str = "images"
) -> None:
    """Reject the data set if images cannot be used, unless `on_bad_image` leaves them out.

    Args:
        rejected: (path, reason) of each unusable image.
        total: number of images.
        on_bad_image: error or reject.
        some_left: True if other images can be used.
        unit: plural word for the images in messages.

    Raises:
        InputError: there are unusable images and `on_bad_image` is error, or no image is left.
    """
    if rejected and on_bad_image == "error":
        shown = "; ".join(f"{path}: {reason}" for path, reason in rejected[:_SHOWN])
        more = f"; and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
        raise InputError(f"{len(rejected)} of {total} {unit} cannot be used: {shown}{more}. {leave_out(len(rejected))}")
    if not some_left:
        path, reason = rejected[0]
        raise InputError(f"none of {total} {unit} can be used, for example {path}: {reason}. Correct the {unit}")


def _scale_deep(file: Path, waiting: Path, images: Sequence[FittedImage], intensity: Intensity) -> Iterator[str]:
    """Scale the images of more than 8 bits, write them to images.npy, and yield the sha256 of every image.

    Args:
        file: images.npy.
        waiting: temporary file with the images of more than 8 bits, in order.
        images: properties of all images.
        intensity: scaling of the images.

    Yields:
        Digest of the pixels, hexadecimal.
    """
    if all(image.values is None for image in images):
        yield from (image.sha256 for image in images)
        return
    packed = np.lib.format.open_memmap(file, mode="r+")
    with waiting.open("rb") as stream:
        for row, image in enumerate(images):
            if image.values is None:
                yield image.sha256
                continue
            pixels = np.load(stream, allow_pickle=False)
            packed[row] = to_uint8(pixels, image.value_range or (intensity.low, intensity.high), image.inverted)
            yield hashlib.sha256(packed[row].data).hexdigest()
    packed.flush()


def _write_header(out: BinaryIO, rows: int, size: int) -> None:
    # numpy pads the header, so its length does not change with the number of rows.
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": (rows, size, size, 3)})
