"""Decoded pixels of an image, before they are resized and scaled to 8 bits."""

from dataclasses import dataclass

import numpy as np


class DecodeError(Exception):
    """An image that cannot be used. The message is the reason without the name of the file."""


@dataclass(frozen=True)
class DecodedImage:
    """The pixels of one image.

    Attributes:
        pixels: uint8 (h, w, 3) RGB for 8-bit images. Images of more than 8 bits keep the integers or floats of the
            file, as (h, w) gray or (h, w, 3) RGB.
        declared: lowest and highest possible value according to the file; None if the file does not declare them.
        inverted: True if low values are bright (TIFF WhiteIsZero, DICOM MONOCHROME1). For 8-bit images always False,
            because their pixels are inverted in decoding.
    """

    pixels: np.ndarray
    declared: tuple[float, float] | None = None
    inverted: bool = False

    @property
    def is_deep(self) -> bool:
        """True if the image has more than 8 bits, so that its values must be scaled."""
        return self.pixels.dtype != np.uint8

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def observed(self) -> tuple[float, float]:
        """Return the lowest and the highest value of the pixels.

        Returns:
            (low, high).

        Raises:
            DecodeError: a value is NaN or infinite.
        """
        low, high = float(self.pixels.min()), float(self.pixels.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DecodeError("pixels are NaN or infinite")
        return low, high
