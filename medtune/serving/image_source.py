"""Types of images that `Bundle.predict` accepts: paths, bytes of files, Pillow images and arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medtune.serving.decode import decode, to_pixels
from medtune.serving.pixels import DecodedImage

ImageSource = str | Path | bytes | Image.Image | np.ndarray


def as_list(images: ImageSource | Sequence[ImageSource]) -> list[ImageSource]:
    """Return one image, several images, or an array (n, h, w, 3) as a list of images."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    return [images] if isinstance(images, ImageSource) else list(images)


def read_image(image: ImageSource, apply_voi: bool = True) -> DecodedImage:
    """Read an image of any supported type.

    Args:
        image: path, bytes, Pillow image or array.
        apply_voi: apply the display window of a DICOM file.

    Returns:
        The pixels of the image.

    Raises:
        DecodeError: the image cannot be used. The message is the reason.
    """
    if isinstance(image, Image.Image | np.ndarray):
        return to_pixels(image)
    return decode(Path(image) if isinstance(image, str) else image, apply_voi)
