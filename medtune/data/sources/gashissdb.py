"""Source `gashissdb`: crops of gastric histopathology (Hu et al. 2022), `<size>/Abnormal` and `<size>/Normal`.

The set holds the same 600 images three times, cut into squares of 80, 120 and 160 pixels. One size is read; crops of
different sizes show the same tissue, and would be in both training and test.
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
LICENSE = "as given by its authors; ask them before passing images on"
CITATION = (
    "W. Hu, C. Li, X. Li et al.: GasHisSDB: A new gastric histopathology image dataset for computer aided diagnosis "
    "of gastric cancer. Computers in Biology and Medicine 142:105207, 2022."
)
KNOWN_ISSUES = (
    "The images are crops of 600 images, and their names do not say which: that crops of one image or one patient are "
    "in both train and test cannot be excluded.",
)
CLASSES = ("normal", "abnormal")
SIZES = (80, 120, 160)
# Published crops of each size: normal, abnormal.
COUNTS = {80: (87500, 59151), 120: (40460, 24801), 160: (20160, 13124)}

_SIZE = re.compile(r"(80|120|160)(?: ?[xX*_-] ?\1)?(?: ?px)?")
_PNG = b"\x89PNG\r\n\x1a\n"
_CROP = re.compile(r"(?:ab)?normal-\d{5}\.png", re.IGNORECASE)


class Params(DataParams):
    """Which of the three sizes."""

    source: Literal["gashissdb"] = "gashissdb"
    size: Literal[80, 120, 160] = Field(160, description="side of the crops, in pixels")
    patient_pattern: str | None = Field(
        None, description="regular expression that finds the original image or the patient in the path, where names do"
    )

    @field_validator("patient_pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "").groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        if groups > 1:
            raise ValueError(f"{pattern!r} has {groups} groups: use one at most")
        return pattern


def classes(params: Params) -> tuple[str, ...]:
    """Class names, in the order of their indices."""
    return CLASSES


def positive_class(params: Params) -> str:
    """Abnormal: the images with cancer."""
    return "abnormal"


def expected(params: Params) -> dict[str, int]:
    """Images per class in the published set."""
    return dict(zip(CLASSES, COUNTS[params.size], strict=True))


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """Every crop of `params.size` under a folder called Normal or Abnormal (any case), sorted by path.

    Raises:
        InputError: no crop of this size, a crop of another size, or `patient_pattern` does not find one group.
    """
    root = listing.require_root(root)
    found, other = [], set()
    for path in listing.find_files(root):
        folders = PurePosixPath(path).parts[:-1]
        labels = [part.lower() for part in folders if part.lower() in CLASSES]
        if not labels:
            continue
        sizes = folder_sizes(folders) or folder_sizes([root.resolve().name])
        if sizes and sizes[-1] != params.size:
            other.add(sizes[-1])
        else:
            found.append(Sample(path, labels[-1], _group(path, params.patient_pattern)))
    if not found and other:
        there = " and ".join(map(str, sorted(other)))
        raise InputError(
            f"data.size={params.size}: {root} has crops of {there} pixels only. Use data.size={max(other)}."
        )
    if not found:
        raise InputError(
            f"data.root={root}: no image in a folder called Normal or Abnormal. "
            "Name the folder GasHisSDB, or the folder of one size in it."
        )
    _check_pixels(root, found, params.size)
    return found


def folder_sizes(folders: Iterable[str]) -> list[int]:
    """Sizes of crops that folder names state: 160 and 160x160, for example."""
    return [int(match[1]) for folder in folders if (match := _SIZE.fullmatch(folder))]


def is_layout(root: Path, paths: Sequence[str]) -> bool:
    """Whether a folder holds GasHisSDB, by the names of its folders and files, or by the size of its images."""
    if "gashissdb" in root.resolve().as_posix().lower().split("/")[-1]:
        return True
    for path in paths:
        pure = PurePosixPath(path)
        if "gashissdb" in path.lower() or folder_sizes(pure.parts[:-1]) or _CROP.fullmatch(pure.name):
            return True
    return any(_pixels(root / path) in {(size, size) for size in SIZES} for path in paths[:3])


def _group(path: str, pattern: str | None) -> str | None:
    if pattern is None:
        return None
    match = re.search(pattern, path)
    group = match and (match[1] if match.re.groups else match[0])
    if not group:
        raise InputError(f"data.patient_pattern={pattern}: finds nothing in {path}. Change it, or set it to null.")
    return group


def _check_pixels(root: Path, samples: Sequence[Sample], size: int) -> None:
    wrong = [
        (sample.path, pixels)
        for sample in samples
        if (pixels := _pixels(root / sample.path)) is not None and pixels != (size, size)
    ]
    if wrong:
        path, (width, height) = wrong[0]
        fix = f" Use data.size={width} for a folder of that size alone." if width in SIZES else ""
        raise InputError(
            f"data.size={size}: {len(wrong):,} of {len(samples):,} images have another size; {path} has {width} x "
            f"{height} pixels. Crops of different sizes show the same tissue, so they are not mixed.{fix}"
        )


def _pixels(file: Path) -> tuple[int, int] | None:
    """Width and height from a file's header; None if it cannot be read, which decoding reports."""
    try:
        with file.open("rb") as stream:
            head = stream.read(24)
        if head.startswith(_PNG) and len(head) == 24:
            return struct.unpack(">II", head[16:])  # type: ignore[return-value]
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
