"""Reliability table: accuracy per confidence bin."""

import numpy as np
import numpy.typing as npt

from medtune.evaluation.reliability import Table, reliability_bins

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def reliability(labels: Ints, probabilities: Floats, bins: int = 15) -> Table:
    """Compute the mean confidence and the accuracy per confidence bin (lower, upper].

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes) probabilities.
        bins: number of bins of equal width.

    Returns:
        `{lower, upper, images, confidence, accuracy}` for each bin with images.
    """
    return reliability_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)
