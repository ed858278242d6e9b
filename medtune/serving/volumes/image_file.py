"""Reading of images as volumes of one slice, and writing of label maps as PNG files.

The columns of an image become the axis X, and the rows become the axis Y. X runs to the patient's left and Y to the
back, as in an axial slice of a DICOM series. Plots of volumes therefore show an image upright. Volumes are in RAS (see
geometry.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medtune.serving.decode import decode
from medtune.serving.output_file import replace_file
from medtune.serving.pixels import DecodedImage, DecodeError
from medtune.serving.volumes import geometry
from medtune.serving.volumes.file_access import file_errors
from medtune.serving.volumes.nifti_space import NiftiSpace
from medtune.serving.volumes.volume import Grid, Volume, check_values

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".webp")
OUTPUT_SUFFIX = ".png"
ORIENTATION = "LPS"
# Thickness of an image. With 1 mm, a volume in mm³ has the same number as the area in mm².
THICKNESS_MM = 1.0
_MM = 2  # NIfTI code of the unit mm
_COLORS = {1: "gray", 3: "rgb"}


def image_grid(width: int, height: int, pixel_mm: Sequence[float] = (1.0, 1.0)) -> Grid:
    """Return the voxel grid of an image.

    Args:
        width: pixels per row.
        height: pixels per column.
        pixel_mm: spacing of the pixels along a row and along a column in mm.

    Returns:
        The grid (width, height, 1).
    """
    x, y = pixel_mm
    affine = np.diag([-x, -y, THICKNESS_MM, 1.0])
    rows = tuple(tuple(row) for row in affine[:3].tolist())
    # The quaternion is a rotation by 180 degrees about Z.
    space = NiftiSpace(1, 1, 1, (0.0, 0.0, 1.0), (0.0, 0.0, 0.0), rows, (1.0, x, y, THICKNESS_MM), _MM)
    return Grid((width, height, 1), affine, ORIENTATION, space)


def read_image(path: Path, channels: int, pixel_mm: Sequence[float] = (1.0, 1.0)) -> Volume:
    """Read an image as a volume of one slice, with its EXIF orientation applied.

    Args:
        path: PNG, JPEG, TIFF, BMP or WebP file.
        channels: 1 for gray images, or 3 for red, green and blue. A gray image gets three equal channels.
        pixel_mm: spacing of the pixels along a row and along a column in mm.

    Returns:
        The volume in RAS, with the values of the file.

    Raises:
        DecodeError: the file cannot be decoded, has colors but `channels` is 1, or has a constant channel. The message
            names the file.
    """
    with file_errors(path):
        image = decode(path)
        pixels = _channels(image, channels)
        width, height = image.size
        grid = image_grid(width, height, pixel_mm)
        data = np.ascontiguousarray(to_volume(pixels), np.float32)
        for channel in data:
            check_values(channel)
    return Volume(data, grid.ras_affine, grid)


def to_volume(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (..., h, w) as a volume in RAS (..., w, h, 1), a view."""
    return geometry.to_ras(np.swapaxes(pixels, -2, -1)[..., None], ORIENTATION)


def write_mask(path: Path, labels: np.ndarray) -> None:
    """Write a label map as a gray PNG file of 8 bits. The file appears only after everything is written.

    Args:
        path: .png file. An existing file is replaced.
        labels: uint8 (X, Y, 1) in RAS.

    Raises:
        medtune.serving.manifest.BundleError: the file cannot be written.
        ValueError: the label map has another shape or type.
    """
    if labels.dtype != np.uint8 or labels.ndim != 3 or labels.shape[2] != 1:
        raise ValueError(f"a mask of {labels.dtype} {labels.shape}; expected uint8 (X, Y, 1)")
    pixels = np.ascontiguousarray(geometry.from_ras(labels, ORIENTATION)[..., 0].T)
    with replace_file(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def _channels(image: DecodedImage, channels: int) -> np.ndarray:
    """Return the pixels as (channels, h, w).

    Raises:
        DecodeError: `channels` is not 1 or 3, the image has colors but `channels` is 1, or low values are bright.
    """
    if channels not in _COLORS:
        raise DecodeError(f"{channels} channels are needed; an image has 1 or 3")
    if image.inverted:
        raise DecodeError("low values are bright (WhiteIsZero). Save the image with bright high values")
    pixels = image.pixels
    if pixels.ndim == 2:
        return np.broadcast_to(pixels, (channels, *pixels.shape))
    if channels == 3:
        return np.moveaxis(pixels, 2, 0)
    if not (pixels == pixels[..., :1]).all():
        raise DecodeError("a color image, but gray images are expected. Convert it, or set data.color=rgb")
    return pixels[None, ..., 0]
