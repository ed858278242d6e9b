"""Intensity range of images with more than 8 bits ("deep" images): the values that become 0 and 255.

One range is determined from all images of a data set.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medtune.config.data import IntensityParams
from medtune.config.errors import InputError
from medtune.data.class_selection import list_names
from medtune.serving.intensity import Intensity
from medtune.serving.pixels import DecodedImage, DecodeError

# Bit depths of cameras and scanners. The smallest one that contains all values is used.
USUAL_BITS = (8, 10, 12, 14, 16)
# If the highest value of all images is below this value, the images are black or masks.
LEAST_HIGH = 16
_SHOWN = 5
_FIX = "Set data.intensity.bits, data.intensity.window or data.intensity.percentiles"


@dataclass(frozen=True)
class PixelRange:
    """Range of values of one image with more than 8 bits.

    Attributes:
        low: lowest value.
        high: highest value.
        declared: lowest and highest value according to the file; None if the file does not declare them.
        counts: number of pixels by rounded value; None unless the params set percentiles.
    """

    low: float
    high: float
    declared: tuple[float, float] | None
    counts: dict[int, int] | None = None


def measure(image: DecodedImage, params: IntensityParams | Intensity) -> PixelRange | None:
    """Determine the range of values of an image.

    Args:
        image: the image.
        params: section `data.intensity`, or the intensity range of an earlier data set.

    Returns:
        The range, or None for an image of 8 bits.

    Raises:
        DecodeError: a value is NaN or infinite. Also if the params set neither a window nor percentiles, and values
            are negative, floating-point, above 65535 or above the range that the file declares.
    """
    if not image.is_deep:
        return None
    low, high = image.observed()
    if isinstance(params, Intensity):
        return PixelRange(low, high, image.declared)
    if params.window is None and params.percentiles is None:
        if image.pixels.dtype.kind == "f" or low < 0 or high > 65535:
            raise DecodeError(
                f"values {low:g} to {high:g}: pixels that are negative, floating-point or above 16 bits (Hounsfield "
                "units, for example) have no known range. Set data.intensity.window=[LOW,HIGH]"
            )
        if image.declared is not None and high > image.declared[1]:
            raise DecodeError(f"values up to {high:g}, although the file declares {image.declared[1]:g} as the largest")
    counts = None
    if params.percentiles is not None:
        values, times = np.unique(np.rint(image.pixels).astype(np.int64), return_counts=True)
        counts = dict(zip(values.tolist(), times.tolist(), strict=True))
    return PixelRange(low, high, image.declared, counts)


def applies_voi(params: IntensityParams) -> bool:
    """Return True if the display window (VOI) of DICOM files is applied, because the params set no range."""
    return params.bits is None and params.window is None and params.percentiles is None


def resolve(params: IntensityParams, ranges: Sequence[PixelRange | None]) -> Intensity:
    """Determine the intensity range of a data set.

    Args:
        params: section `data.intensity` of params.yaml.
        ranges: one range per image; None for images of 8 bits.

    Returns:
        The intensity range.

    Raises:
        InputError: the range is unknown or ambiguous, or values exceed the range in the params.
    """
    deep = [pixel_range for pixel_range in ranges if pixel_range is not None]
    voi, some_8_bit = applies_voi(params), len(deep) < len(ranges)
    if not deep:
        return Intensity(apply_voi=voi)
    if params.window is not None:
        low, high = params.window
        return Intensity(low, high, clip=True, from_8_bit=some_8_bit, from_deep=True, apply_voi=voi)
    if params.percentiles is not None:
        low, high = _percentiles(deep, params.percentiles)
        return Intensity(low, high, clip=True, from_8_bit=some_8_bit, from_deep=True, apply_voi=voi)
    low, high = 0.0, float(2**params.bits - 1) if params.bits is not None else _usual_high(deep)
    largest = max(pixel_range.high for pixel_range in deep)
    if largest > high:
        raise InputError(f"data.intensity.bits={params.bits}: values up to {largest:g} exceed {high:g}. Set more bits")
    return Intensity(low, high, from_8_bit=some_8_bit, from_deep=True, apply_voi=voi)


def describe(intensity: Intensity, ranges: Sequence[PixelRange | None]) -> str | None:
    """Return a sentence about the intensity range and dark images, or None if all images have 8 bits."""
    deep = [pixel_range for pixel_range in ranges if pixel_range is not None]
    if not deep:
        return None
    largest = max(pixel_range.high for pixel_range in deep)
    dark = sum(pixel_range.high - intensity.low < (intensity.high - intensity.low) / 8 for pixel_range in deep)
    warning = f"; {dark:,} of them use less than an eighth of this range and are dark" if dark else ""
    return (
        f"{len(deep):,} of {len(ranges):,} images have more than 8 bits (values up to {largest:g}): "
        f"{intensity.low:g} to {intensity.high:g} became 0 to 255{warning}"
    )


def _usual_high(deep: Sequence[PixelRange]) -> float:
    """Return the highest value that the files declare. If none declares one, return that of the usual bit depth."""
    declared = Counter(pixel_range.declared for pixel_range in deep if pixel_range.declared is not None)
    if len(declared) > 1:
        shown = ", ".join(f"{count} images {low:g} to {high:g}" for (low, high), count in declared.most_common())
        raise InputError(f"data.intensity: the files declare different ranges ({shown}). {_FIX}")
    largest = max(pixel_range.high for pixel_range in deep)
    if largest < LEAST_HIGH:
        raise InputError(
            f"data.intensity: no value is above {largest:g} in {len(deep)} images of more than 8 bits, so they are "
            f"black, or masks. {_FIX} if they are images"
        )
    if declared:
        high = next(iter(declared))[1]
        if largest > high:
            raise InputError(
                f"data.intensity: files declare values up to {high:g}, but other files have values up to {largest:g}. "
                f"{_FIX}"
            )
        return high
    return next(float(2**bits - 1) for bits in USUAL_BITS if largest <= 2**bits - 1)


def _percentiles(deep: Sequence[PixelRange], percentiles: tuple[float, float]) -> tuple[float, float]:
    """Return the values of two percentiles of the pixels of all images."""
    total: Counter[int] = Counter()
    for pixel_range in deep:
        total.update(pixel_range.counts or {})
    values = np.array(sorted(total))
    cumulative = np.cumsum([total[value] for value in values.tolist()]) / total.total() * 100
    low, high = (float(values[min(int(np.searchsorted(cumulative, p)), len(values) - 1)]) for p in percentiles)
    if low >= high:
        raise InputError(
            f"data.intensity.percentiles={list(percentiles)}: both are the value {low:g}. Set percentiles further apart"
        )
    return low, high


def describe_confounding(labels: Sequence[str], ranges: Sequence[PixelRange | None]) -> str | None:
    """Return a warning if the bit depth of the images reveals their labels.

    Args:
        labels: label of each image.
        ranges: range of each image; None for an image of 8 bits.

    Returns:
        The warning; None unless some labels have only images of 8 bits and others have none.
    """
    counts: dict[str, Counter[bool]] = {}
    for label, values in zip(labels, ranges, strict=True):
        counts.setdefault(label, Counter())[values is not None] += 1
    plain = sorted(label for label, by_depth in counts.items() if not by_depth[True])
    deep = sorted(label for label, by_depth in counts.items() if not by_depth[False])
    if not plain or not deep:
        return None
    return (
        f"Every image of {list_names(plain, _SHOWN)} has 8 bits, and every image of {list_names(deep, _SHOWN)} has "
        "more. A model can recognize the class by the conversion of the files. Convert all images in the same way."
    )
