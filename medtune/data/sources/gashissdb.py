"""Source `gashissdb`: crops of gastric histopathology images (Hu et al. 2022) in `<size>/Abnormal` and `<size>/Normal`.

The set contains the same 600 images three times, cropped to squares of 80, 120 and 160 pixels. The source reads only
one size, because crops of different sizes show the same tissue. With several sizes, the same tissue would be in both
training and test.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, field_validator

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.data import listing
from medtune.data.sample import Sample

NAME = "GasHisSDB"
LICENSE = "defined by its authors; ask them before sharing images"
CITATION = (
    "W. Hu, C. Li, X. Li et al.: GasHisSDB: A new gastric histopathology image dataset for computer aided diagnosis "
    "of gastric cancer. Computers in Biology and Medicine 142:105207, 2022."
)
KNOWN_ISSUES = (
    "The images are crops of 600 images, but their names do not identify the original image. Crops of one image or one "
    "patient may therefore be in both train and test.",
)
CLASSES = ("normal", "abnormal")
SIZES = (80, 120, 160)
# Number of published crops per size: normal, abnormal.
COUNTS = {80: (87500, 59151), 120: (40460, 24801), 160: (20160, 13124)}

_SIZE = re.compile(r"(80|120|160)(?: ?[xX*_-] ?\1)?(?: ?px)?")
_PNG = b"\x89PNG\r\n\x1a\n"
_CROP = re.compile(r"(?:ab)?normal-\d{5}\.png", re.IGNORECASE)


class Params(DataParams):
    """Size of the crops, and an optional pattern that finds the patients."""

    source: Literal["gashissdb"] = "gashissdb"
    size: Literal[80, 120, 160] = Field(160, description="side of the crops, in pixels")
    patient_pattern: str | None = Field(
        None,
        description="regular expression that finds the original image or the patient in the path. null: unknown",
        examples=["/(P[0-9]+)_"],
    )

    @field_validator("patient_pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "").groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if groups > 1:
            raise ValueError(f"has {groups} groups. Use at most one")
        return pattern


def classes(params: Params) -> tuple[str, ...]:
    """Return the class names in index order."""
    return CLASSES


def positive_class(params: Params) -> str:
    """Return "abnormal", the class of images with cancer."""
    return "abnormal"


def expected(params: Params) -> dict[str, int]:
    """Return the number of images per class in the published set."""
    return dict(zip(CLASSES, COUNTS[params.size], strict=True))


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the crops of `params.size` in folders called Normal or Abnormal, in upper or lower case.

    Args:
        root: the data root.
        params: section `data` of params.yaml.

    Returns:
        One sample per crop, sorted by path.

    Raises:
        InputError: there is no crop of this size, an image has another size, or `patient_pattern` does not match.
    """
    root = listing.require_root(root)
    samples, other_sizes = [], set()
    for path in listing.find_files(root):
        folders = PurePosixPath(path).parts[:-1]
        labels = [part.lower() for part in folders if part.lower() in CLASSES]
        if not labels:
            continue
        sizes = folder_sizes(folders) or folder_sizes([root.resolve().name])
        if sizes and sizes[-1] != params.size:
            other_sizes.add(sizes[-1])
        else:
            samples.append(Sample(path, labels[-1], _patient(path, params.patient_pattern)))
    if not samples and other_sizes:
        shown = " and ".join(map(str, sorted(other_sizes)))
        raise InputError(
            f"data.size={params.size}: {root} has crops of {shown} pixels only. Use data.size={max(other_sizes)}."
        )
    if not samples:
        raise InputError(
            f"data.root={root}: no image in a folder called Normal or Abnormal. "
            "Set data.root to the folder GasHisSDB, or to the folder of one size in it."
        )
    _check_pixels(root, samples, params.size)
    return samples


def folder_sizes(folders: Iterable[str]) -> list[int]:
    """Return the crop sizes (80, 120 or 160) that folder names such as 160, 160x160 and 160px state."""
    return [int(match[1]) for folder in folders if (match := _SIZE.fullmatch(folder))]


def is_layout(root: Path, paths: Sequence[str]) -> bool:
    """Return True if folder names, file names or image sizes indicate that a folder contains GasHisSDB."""
    if "gashissdb" in root.resolve().as_posix().lower().split("/")[-1]:
        return True
    for path in paths:
        pure = PurePosixPath(path)
        if "gashissdb" in path.lower() or folder_sizes(pure.parts[:-1]) or _CROP.fullmatch(pure.name):
            return True
    return any(_pixels(root / path) in {(size, size) for size in SIZES} for path in paths[:3])


def _patient(path: str, pattern: str | None) -> str | None:
    """Return the patient that the pattern finds in a path, or None without a pattern."""
    if pattern is None:
        return None
    match = re.search(pattern, path)
    patient = match and (match[1] if match.re.groups else match[0])
    if not patient:
        raise InputError(
            f"data.patient_pattern={pattern}: finds nothing in {path}. Change the pattern, or set it to null."
        )
    return patient


def _check_pixels(root: Path, samples: Sequence[Sample], size: int) -> None:
    """Reject images that are not `size` pixels wide and high."""
    mismatches = [
        (sample.path, pixels)
        for sample in samples
        if (pixels := _pixels(root / sample.path)) is not None and pixels != (size, size)
    ]
    if mismatches:
        path, (width, height) = mismatches[0]
        fix = f" If all images are {width} pixels wide and high, use data.size={width}." if width in SIZES else ""
        raise InputError(
            f"data.size={size}: {len(mismatches):,} of {len(samples):,} images have another size; {path} has {width} x "
            f"{height} pixels. Crops of different sizes show the same tissue and must not be mixed.{fix}"
        )


def _pixels(file: Path) -> tuple[int, int] | None:
    """Return width and height from the file header, or None for an unreadable file. Decoding reports such files."""
    try:
        with file.open("rb") as stream:
            head = stream.read(24)
        if head.startswith(_PNG) and len(head) == 24:
            width, height = struct.unpack(">II", head[16:])
            return width, height
        from PIL import Image

        with Image.open(file) as image:
            return image.size
    except (OSError, ValueError):
        return None


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(12):
        for size in (80, 120):
            file = root / str(size) / ("Normal", "Abnormal")[number % 2] / f"{number:05d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (size, size, 3), np.uint8)).save(file)
    return {"size": 120, "split": {"protocol": "image"}}
