"""Masks of images: PNG, TIFF or BMP files with a label number per pixel."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from medtune.serving.decode import FORMATS, decode_labels, orientation
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.file_access import file_errors
from medtune.serving.volumes.image_file import to_volume

SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
MAX_VALUE = 65535
_SHOWN = 5
# EXIF orientations that exchange width and height.
_TURNED = (5, 6, 7, 8)
# Value of the label in masks that are drawn in black and white.
_WHITE = 255


def check_pair(image: Path, mask: Path) -> None:
    """Compare the sizes and the EXIF orientations that an image and its mask state, without decoding them.

    Args:
        image: the image.
        mask: its mask.

    Raises:
        DecodeError: the sizes or the orientations differ, or a file cannot be read. The message names the mask.
    """
    with file_errors(mask):
        turned = orientation(image), orientation(mask)
        if turned[0] != turned[1]:
            raise DecodeError(
                f"the EXIF orientation is {turned[1]}, but that of the image {image.name} is {turned[0]}. Save both "
                "files upright"
            )
        sizes = [_size(path) for path in (image, mask)]
        if sizes[0] is not None and sizes[1] is not None:
            _check_size(sizes[1], sizes[0], image.name)


def read_image_mask(
    path: Path, labels: int, values: Mapping[int, int] | None, size: tuple[int, int], image: str
) -> np.ndarray:
    """Read the mask of an image.

    Args:
        path: mask file.
        labels: number of labels without the background.
        values: label number of each value in the file (`data.mask_values`). A value 0 that is not listed is the
            background. None: the values are the label numbers.
        size: width and height of the image, upright.
        image: name of the image, for messages.

    Returns:
        uint8 (X, Y, 1) label numbers, with the axes in RAS order (right, anterior, superior).

    Raises:
        DecodeError: the file cannot be used, has another size, or has a value without a label. The message names the
            file.
    """
    with file_errors(path):
        pixels = decode_labels(path)
        height, width = pixels.shape
        _check_size((width, height), size, image)
        known = {0: 0, **values} if values is not None else {label: label for label in range(labels + 1)}
        mask = np.zeros(pixels.shape, np.uint8)
        for value in (present := np.unique(pixels)).tolist():
            if int(value) not in known:
                raise DecodeError(_describe_unknown(present.astype(np.int64).tolist(), known, values is not None))
            mask[pixels == value] = known[int(value)]
        return np.ascontiguousarray(to_volume(mask))


def _describe_unknown(present: list[int], known: Mapping[int, int], is_mapped: bool) -> str:
    """Return the message about values without a label. `is_mapped` is True if the user set `data.mask_values`."""
    unknown = [value for value in present if value not in known]
    if not is_mapped and set(present) <= {0, _WHITE}:
        return f"the values are 0 and {_WHITE}. If {_WHITE} is label 1, add --set 'data.mask_values={{{_WHITE}: 1}}'"
    shown = ", ".join(map(str, unknown[:_SHOWN])) + (", ..." if len(unknown) > _SHOWN else "")
    expected = ", ".join(map(str, sorted(known)[: 2 * _SHOWN])) + (", ..." if len(known) > 2 * _SHOWN else "")
    kind, key = ("values", "data.mask_values") if is_mapped else ("labels", "data.class_names or data.mask_values")
    return f"the mask has the {kind} {shown}, which are not among {expected}. Correct the mask, or set {key}"


def _check_size(size: tuple[int, int], other: tuple[int, int], image: str) -> None:
    if size != other:
        raise DecodeError(
            f"the mask has {size[0]} x {size[1]} pixels, but the image {image} has {other[0]} x {other[1]}. Use a mask "
            "of the same size"
        )


def _size(path: Path) -> tuple[int, int] | None:
    """Return the upright width and height, or None for a damaged file, which decoding reports."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            # Pillow itself turns TIFF files.
            return (height, width) if image.format != "TIFF" and orientation(path) in _TURNED else (width, height)
    except Exception:  # Pillow raises every kind of error on damaged files
        return None
