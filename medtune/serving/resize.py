"""Resizing of images to a square. Training and prediction use the same function."""

from typing import Literal

import numpy as np
from PIL import Image

Resize = Literal["squash", "pad", "crop"]


def resize_square(image: np.ndarray, size: int, resize: Resize) -> np.ndarray:
    """Resize an image to a square with bicubic interpolation and antialiasing.

    Args:
        image: uint8 (h, w, 3), or float32 (h, w) or (h, w, c).
        size: side of the result in pixels.
        resize: conversion of an image that is not square. `squash` changes the aspect ratio, `pad` keeps the complete
            image and repeats its edge pixels, and `crop` keeps the central square.

    Returns:
        (size, size) or (size, size, c) with the same dtype. If the image already has this size, the image itself.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    if resize == "squash":
        return _resample(image, (size, size))
    if resize == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return _resample(image, (size, size), (left, top, left + side, top + side))
    scale = size / max(height, width)
    small = _resample(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    down, right = size - small.shape[0], size - small.shape[1]
    edges = [(down // 2, down - down // 2), (right // 2, right - right // 2)]
    return np.pad(small, edges + [(0, 0)] * (image.ndim - 2), mode="edge")


def _resample(
    image: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    if image.dtype != np.uint8 and image.ndim == 3:  # Pillow resizes floats one channel at a time
        return np.stack([_resample(image[..., channel], size, box) for channel in range(image.shape[2])], axis=2)
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, box))
