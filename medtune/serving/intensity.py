"""Conversion of images of more than 8 bits to 8 bits, with one range of values per data set.

A 16-bit file does not state the range of its values. For example, radiographs use 10, 12 or 14 of the 16 bits. The
range is determined once from all training images (medtune.data.intensity) and stored in dataset.json and bundle.json.
In prediction, images outside of this range are rejected.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medtune.serving.field_error import show_json, wrong_field
from medtune.serving.pixels import DecodedImage, DecodeError
from medtune.serving.resize import Resize, resize_square


@dataclass(frozen=True)
class Intensity:
    """Mapping of pixel values to 8 bits.

    Attributes:
        low: value that is mapped to 0, for images of more than 8 bits.
        high: value that is mapped to 255, for images of more than 8 bits.
        clip: clip values outside of the range, because the user has chosen the range. If False, images with such values
            are rejected.
        from_8_bit: True if the training images include 8-bit images.
        from_deep: True if the training images include images of more than 8 bits.
        apply_voi: apply the display window of a DICOM file, which yields an 8-bit image.
    """

    low: float = 0.0
    high: float = 65535.0
    clip: bool = False
    from_8_bit: bool = True
    from_deep: bool = False
    apply_voi: bool = True

    @classmethod
    def from_document(cls, values: Mapping[str, Any] | None) -> "Intensity":
        """Parse the entry `intensity` of bundle.json or dataset.json. None means that all images have 8 bits."""
        return cls() if values is None else cls(**{key: values[key] for key in cls.__dataclass_fields__})

    def document(self) -> dict[str, Any]:
        """Return the entry `intensity` for dataset.json and bundle.json."""
        return asdict(self)

    def range_for(self, image: DecodedImage) -> tuple[float, float]:
        """Return the range of values of an image that is scaled to 0..255 in prediction.

        Args:
            image: the decoded image.

        Returns:
            Lowest and highest value.

        Raises:
            DecodeError: the image has another bit depth or range than the training images.
        """
        if not image.is_deep:
            if not self.from_8_bit:
                raise DecodeError(
                    f"an image of 8 bits, but the model was trained on images of more bits (values {self._range()}). "
                    "Use the original file"
                )
            return 0.0, 255.0
        low, high = image.observed()
        if not self.from_deep:
            if image.declared is None or low < image.declared[0] or high > image.declared[1]:
                raise DecodeError(
                    f"an image of more than 8 bits (values {low:g} to {high:g}) that does not declare its range, but "
                    "the model was trained on 8-bit images. Convert it like the training images"
                )
            return image.declared
        if self.clip:
            return self.low, self.high
        if low < self.low or high > self.high:
            raise DecodeError(f"values {low:g} to {high:g}, but the model was trained on the range {self._range()}")
        if image.declared is not None and image.declared != (self.low, self.high):
            declared = f"{image.declared[0]:g} to {image.declared[1]:g}"
            raise DecodeError(f"the file declares the range {declared}, but the model was trained on {self._range()}")
        return self.low, self.high

    def fit(self, image: DecodedImage, size: int, resize: Resize) -> np.ndarray:
        """Resize and scale an image for the network.

        Args:
            image: the decoded image.
            size: side of the result in pixels.
            resize: conversion of an image that is not square.

        Returns:
            uint8 (size, size, 3).

        Raises:
            DecodeError: the image has another bit depth or range than the training images.
        """
        value_range = self.range_for(image)
        return to_uint8(shrink(image, size, resize), value_range, image.inverted)

    def _range(self) -> str:
        return f"{self.low:g} to {self.high:g}"


def shrink(image: DecodedImage, size: int, resize: Resize) -> np.ndarray:
    """Resize an image to a square, without scaling of its values.

    Returns:
        uint8 (size, size, 3) for 8-bit images, otherwise float32 (size, size) or (size, size, 3).
    """
    pixels = image.pixels.astype(np.float32) if image.is_deep else image.pixels
    return resize_square(pixels, size, resize)


def to_uint8(pixels: np.ndarray, value_range: tuple[float, float], inverted: bool = False) -> np.ndarray:
    """Scale pixels linearly to 8 bits and round them. Pixels that are already uint8 are returned unchanged.

    Args:
        pixels: uint8 (h, w, 3), or float32 (h, w) or (h, w, 3).
        value_range: values that become 0 and 255. Values outside, which bicubic resizing may cause, are clipped.
        inverted: True if low values are bright.

    Returns:
        uint8 (h, w, 3).
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high = value_range
    scaled = np.clip((pixels - np.float32(low)) * np.float32(255 / (high - low)), 0, 255)
    scaled = np.rint(255 - scaled if inverted else scaled).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=2) if scaled.ndim == 2 else scaled


def validate(values: Any) -> str | None:
    """Return the error in `preprocessing.intensity` of bundle.json, or None if it is valid."""
    if values is None:
        return None
    fields = Intensity.__dataclass_fields__
    if not isinstance(values, dict) or not fields.keys() <= values.keys():
        return wrong_field("preprocessing.intensity", values, f"a mapping with the keys {', '.join(fields)}")
    for name in ("clip", "from_8_bit", "from_deep", "apply_voi"):
        if not isinstance(values[name], bool):
            return wrong_field(f"preprocessing.intensity.{name}", values[name], "true or false")
    low, high = values["low"], values["high"]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in (low, high))
    if not numbers or low >= high:
        return (
            f'key "preprocessing.intensity.low" is {show_json(low)} and key "preprocessing.intensity.high" is '
            f"{show_json(high)}: expected a number and a higher number"
        )
    return None
