"""Every image decoded and checked once, and packed into one array file that training maps into memory."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from medtune.config.data import IntensityParams
from medtune.config.errors import InputError
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
    """What `pack` wrote.

    Attributes:
        selected: positions of the packed records in the list given, ascending; row i of the pack is record selected[i].
        sha256: of each packed image's pixels, hexadecimal.
        original_sizes: (width, height) of each original.
        rejected: (path, reason) of each record left out.
        intensity: how images of more than 8 bits were scaled, and whether there were any.
        notes: what a reader must know about the scaling, sentences.
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
    """Writes `folder`/images.npy, uint8 (kept, size, size, 3), in the order of `samples`; memory use is flat.

    Each image is decoded once. Images of more than 8 bits wait in a file until all are decoded and the range of their
    values is known.

    Args:
        samples: what to pack.
        root: the source's root; a file that a link leads out of it is a bad image.
        folder: existing folder.
        size: side in pixels.
        resize: see medtune.serving.resize.resize_square.
        on_bad_image: error: refuse the set; reject: leave the image out and say so.
        intensity: section data.intensity; or the range of an earlier data set, which every image must fit.
        workers: processes; None: as many as CPUs where the first images say that it takes long, else none.

    Raises:
        InputError: bad images, under `error`, with the number of them and the first few named; or none is left; or
            the range of the values is not known.
    """
    real_root = root.resolve() if root is not None else None
    jobs = [
        DecodeJob(sample, None if sample.read or real_root is None else image_path(sample, real_root), real_root)
        for sample in samples
    ]
    wanted = intensity or IntensityParams()
    fit = Fit(size, resize, wanted.apply_voi if isinstance(wanted, Intensity) else applies_voi(wanted), wanted)
    selected: list[int] = []
    kept: list[FittedImage] = []
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
                kept.append(replace(result, pixels=np.empty(0)))
            advance(1, f"{len(rejected)} bad" if rejected else "")
        out.seek(0)
        _write_header(out, len(selected), size)
        if out.tell() != start:
            raise RuntimeError("the header of images.npy changed its length")
    _check_rejected(rejected, len(samples), on_bad_image, bool(selected))
    ranges = [image.values for image in kept]
    found = wanted if isinstance(wanted, Intensity) else resolve(wanted, ranges)
    digests = list(_scale_deep(folder / IMAGES_FILE, waiting, kept, found))
    waiting.unlink()
    labels = [samples[row].label if samples[row].findings is None else "" for row in selected]
    notes = describe(found, ranges), describe_confounding(labels, ranges)
    return PackResult(
        tuple(selected),
        tuple(digests),
        tuple(image.size for image in kept),
        tuple(rejected),
        found,
        tuple(note for note in notes if note),
    )


def _check_rejected(rejected: list[tuple[str, str]], total: int, on_bad_image: str, some_left: bool) -> None:
    if rejected and on_bad_image == "error":
        shown = "; ".join(f"{path}: {reason}" for path, reason in rejected[:_SHOWN])
        more = f"; and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
        raise InputError(
            f"{len(rejected)} of {total} images cannot be used: {shown}{more}. Correct or remove them, or leave "
            "them out with data.on_bad_image=reject"
        )
    if not some_left:
        path, reason = rejected[0]
        raise InputError(f"none of {total} images can be used; the first, {path}: {reason}")


def _scale_deep(images: Path, waiting: Path, kept: Sequence[FittedImage], intensity: Intensity) -> Iterator[str]:
    """The sha256 of each image, after those of more than 8 bits are scaled and written to their rows."""
    if all(image.values is None for image in kept):
        yield from (image.sha256 for image in kept)
        return
    packed = np.lib.format.open_memmap(images, mode="r+")
    with waiting.open("rb") as stream:
        for row, image in enumerate(kept):
            if image.values is None:
                yield image.sha256
                continue
            pixels = np.load(stream, allow_pickle=False)
            packed[row] = to_uint8(pixels, image.value_range or (intensity.low, intensity.high), image.inverted)
            yield hashlib.sha256(packed[row].data).hexdigest()
    packed.flush()


def _write_header(out: BinaryIO, rows: int, size: int) -> None:
    # numpy pads its headers so that the first axis can change without moving the data.
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": (rows, size, size, 3)})
