"""Detection of tissue on a small image of a slide, with Otsu's threshold of the color saturation.

Pen marks and black margins do not count as tissue.
"""

import numpy as np
from PIL import Image, ImageFilter

# Limits of the threshold, because Otsu's method fails on a slide with only tissue or only glass. The saturation of
# glass is below the first limit. The saturation of stained tissue is above the second limit.
THRESHOLD_RANGE = (0.06, 0.15)
DARK = 40  # darker pixels (black margins and ink) have no meaningful saturation
_VIVID = 0.6  # minimum saturation of ink; green and blue stains (trichrome) are paler
_MEDIAN = 3  # side of the median filter in pixels


def find_tissue(image: np.ndarray) -> np.ndarray:
    """Detect tissue.

    Args:
        image: uint8 (h, w, 3), a small image of a slide.

    Returns:
        bool (h, w), True for tissue.
    """
    saturation = _saturation(image)
    usable = ~(is_pen(image) | (image.max(axis=2) < DARK))
    smooth = np.asarray(Image.fromarray(np.round(saturation * 255).astype(np.uint8)).filter(_median(image))) / 255
    threshold = float(np.clip(otsu(smooth[usable]), *THRESHOLD_RANGE)) if usable.any() else THRESHOLD_RANGE[1]
    return np.asarray((smooth > threshold) & usable)


def is_pen(image: np.ndarray) -> np.ndarray:
    """Detect ink of green, blue and red pens by its color.

    The common stains (hematoxylin, eosin, DAB and trichrome) have other colors.

    Args:
        image: uint8 (h, w, 3).

    Returns:
        bool (h, w), True for ink.
    """
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    vivid = _saturation(image) > _VIVID
    green_ink = (green > 1.15 * red) & (green > 1.05 * blue) & vivid
    blue_ink = (blue > 1.6 * red) & (green > 1.1 * red) & vivid
    red_ink = (red > 2.2 * green) & (red > 2.2 * blue)
    return green_ink | blue_ink | red_ink


def otsu(values: np.ndarray) -> float:
    """Return Otsu's threshold of values from 0 to 1, which minimizes the variance in the two groups of values.

    Without two groups, the threshold is 0.
    """
    counts, edges = np.histogram(values, bins=256, range=(0.0, 1.0))
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(np.float64)
    above = below[-1] - below
    sums = np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][int(np.nanargmax(between))]) if np.isfinite(between).any() else 0.0


def _saturation(image: np.ndarray) -> np.ndarray:
    """Compute the saturation of the color model HSV, 0..1."""
    high, low = image.max(axis=2).astype(np.float32), image.min(axis=2).astype(np.float32)
    return np.asarray(np.divide(high - low, high, out=np.zeros_like(high), where=high > 0))


def _median(image: np.ndarray) -> ImageFilter.MedianFilter | ImageFilter.GaussianBlur:
    """Return the median filter, or a filter without effect if the image is too small."""
    return ImageFilter.MedianFilter(_MEDIAN) if min(image.shape[:2]) > _MEDIAN else ImageFilter.GaussianBlur(0)
