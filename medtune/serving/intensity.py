"""Images of more than 8 bits as 8 bits: one range of values for a whole data set, and for every prediction after it.

A 16-bit file says little about the range of its values: radiographs use 10, 12 or 14 of the 16 bits. The range is
determined once from all training images (medtune.data.intensity), stored in dataset.json and bundle.json, and applied
here. An image at prediction time that does not fit the stored range is refused.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medtune.serving.pixels import DecodedImage, DecodeError
from medtune.serving.resize import Resize, resize_square


@dataclass(frozen=True)
class Intensity:
    """How pixel values become 8 bits.

    Attributes:
        low: value of images of more than 8 bits that becomes 0.
        high: value that becomes 255.
        clip: values outside low to high are clipped (the user chose a window or percentiles); False: refused.
        from_8_bit: images of 8 bits were among the training images.
        from_deep: images of more than 8 bits were among them.
        apply_voi: the display window of a DICOM file is applied, which gives an 8-bit image.
    """

    low: float = 0.0
    high: float = 65535.0
    clip: bool = False
    from_8_bit: bool = True
    from_deep: bool = False
    apply_voi: bool = True

    @classmethod
    def from_document(cls, values: Mapping[str, Any] | None) -> "Intensity":
        """The entry `preprocessing.intensity` of bundle.json, or of dataset.json; without one, 8-bit images only."""
        return cls() if values is None else cls(**{key: values[key] for key in cls.__dataclass_fields__})

    def document(self) -> dict[str, Any]:
        """The entry for dataset.json and bundle.json."""
        return asdict(self)

    def range_for(self, image: DecodedImage) -> tuple[float, float]:
        """The range that is scaled to 0..255 for one image at prediction time.

        Raises:
            DecodeError: the image has another depth or range than the training images.
        """
        if not image.is_deep:
            if not self.from_8_bit:
                raise DecodeError(
                    f"an image of 8 bits, but the model was trained on images of more bits (values {self._range()}): "
                    "their relation is unknown. Give the original file"
                )
            return 0.0, 255.0
        low, high = image.observed()
        if not self.from_deep:
            if image.declared is None or low < image.declared[0] or high > image.declared[1]:
                raise DecodeError(
                    f"an image of more than 8 bits (values {low:g} to {high:g}) that does not say which range it uses, "
                    "but the model was trained on 8-bit images. Convert it as those were converted"
                )
            return image.declared
        if self.clip:
            return self.low, self.high
        if low < self.low or high > self.high:
            raise DecodeError(f"values {low:g} to {high:g}, but the model was trained on the range {self._range()}")
        if image.declared is not None and image.declared != (self.low, self.high):
            shown = f"{image.declared[0]:g} to {image.declared[1]:g}"
            raise DecodeError(f"the file declares the range {shown}, but the model was trained on {self._range()}")
        return self.low, self.high

    def fit(self, image: DecodedImage, size: int, resize: Resize) -> np.ndarray:
        """The image as the network takes it: uint8 (size, size, 3).

        Raises:
            DecodeError: the image has another depth or range than the training images.
        """
        value_range = self.range_for(image)
        return to_uint8(shrink(image, size, resize), value_range, image.inverted)

    def _range(self) -> str:
        return f"{self.low:g} to {self.high:g}"


def shrink(image: DecodedImage, size: int, resize: Resize) -> np.ndarray:
    """The square image before scaling: uint8 (size, size, 3), or float32 (size, size) or (size, size, 3)."""
    pixels = image.pixels.astype(np.float32) if image.is_deep else image.pixels
    return resize_square(pixels, size, resize)


def to_uint8(pixels: np.ndarray, value_range: tuple[float, float], inverted: bool = False) -> np.ndarray:
    """Scaled linearly and rounded: uint8 (h, w, 3). Pixels that are uint8 already are returned as they are.

    Args:
        pixels: uint8 (h, w, 3), or float32 (h, w) or (h, w, 3).
        value_range: values that become 0 and 255; values beyond are clipped (bicubic resizing overshoots).
        inverted: low values are bright.
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high = value_range
    scaled = np.clip((pixels - np.float32(low)) * np.float32(255 / (high - low)), 0, 255)
    scaled = np.rint(255 - scaled if inverted else scaled).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=2) if scaled.ndim == 2 else scaled


def fault(values: Any) -> str | None:
    """What is wrong with `preprocessing.intensity` of a bundle.json; None if nothing is."""
    if values is None:
        return None
    fields = Intensity.__dataclass_fields__
    if not isinstance(values, dict) or not fields.keys() <= values.keys():
        return f"preprocessing.intensity is {values!r}: expected {', '.join(fields)}"
    for name in ("clip", "from_8_bit", "from_deep", "apply_voi"):
        if not isinstance(values[name], bool):
            return f"preprocessing.intensity.{name} is {values[name]!r}: expected true or false"
    low, high = values["low"], values["high"]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in (low, high))
    if not numbers or low >= high:
        return f"preprocessing.intensity is {low!r} to {high!r}: expected a low and a higher number"
    return None
