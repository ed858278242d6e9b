"""Restoration of the colors of prepared images for plots, because their channels are normalized."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medtune.serving.volumes.training_range import PERCENTILES

CHANNELS = 3
_WHITE = 255.0


def restore_colors(image: npt.NDArray[np.floating], quantiles: Sequence[Sequence[float]]) -> npt.NDArray[np.uint8]:
    """Undo the normalization of each channel, so that a plot has the colors of the file.

    The normalization of a channel was linear. The first and the last percentile of the file and of the image determine
    its slope and offset.

    Args:
        image: (3, X, Y, Z) normalized red, green and blue.
        quantiles: (3, 5) `PERCENTILES` of the channels in the file.

    Returns:
        (X, Y, Z, 3) uint8. For images of 16 bits, the 99th percentile of the values becomes white.
    """
    colors = np.empty((*image.shape[1:], CHANNELS), np.float32)
    for channel, known in enumerate(quantiles):
        values = image[channel].astype(np.float32)
        low, high = np.percentile(values, (PERCENTILES[0], PERCENTILES[-1])).tolist()
        slope = (known[-1] - known[0]) / (high - low) if high > low else 0.0
        colors[..., channel] = known[0] + slope * (values - low)
    white = _WHITE if max(channel[-1] for channel in quantiles) <= _WHITE else float(np.percentile(colors, 99))
    return np.rint(np.clip(colors * (_WHITE / white), 0, _WHITE)).astype(np.uint8)
