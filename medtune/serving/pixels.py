"""Decoded pixels, before they are scaled to 8 bits and resized."""

from dataclasses import dataclass

import numpy as np


class DecodeError(Exception):
    """An image that cannot be used; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class DecodedImage:
    """The pixels of one image.

    Attributes:
        pixels: uint8 (h, w, 3) RGB; or, for an image of more than 8 bits, (h, w) gray or (h, w, 3) RGB integers or
            floats in the file's own values.
        declared: lowest and highest value that the file says its pixels can have; None if it does not say so.
        inverted: True if low values are bright (TIFF WhiteIsZero, DICOM MONOCHROME1). Only for more than 8 bits;
            8-bit pixels are already inverted.
    """

    pixels: np.ndarray
    declared: tuple[float, float] | None = None
    inverted: bool = False

    @property
    def is_deep(self) -> bool:
        """True if the image has more than 8 bits, so that its range of values decides how it looks."""
        return self.pixels.dtype != np.uint8

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def observed(self) -> tuple[float, float]:
        """Lowest and highest value of the pixels.

        Raises:
            DecodeError: a value is NaN or infinite.
        """
        low, high = float(self.pixels.min()), float(self.pixels.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DecodeError("pixels are NaN or infinite")
        return low, high
