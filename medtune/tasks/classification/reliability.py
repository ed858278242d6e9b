"""Reliability table: accuracy per confidence bin."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def reliability(labels: Ints, probabilities: Floats, bins: int = 15) -> list[dict[str, float | int]]:
    """Compute the mean confidence and the accuracy per confidence bin (lower, upper].

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes) probabilities.
        bins: number of bins of equal width.

    Returns:
        `{lower, upper, images, confidence, accuracy}` for each bin with images.
    """
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    count, confidence_sum, correct_sum = (
        np.bincount(index, weights=w, minlength=bins) for w in (None, confidence, correct)
    )
    return [
        {
            "lower": k / bins,
            "upper": (k + 1) / bins,
            "images": int(count[k]),
            "confidence": confidence_sum[k] / count[k],
            "accuracy": correct_sum[k] / count[k],
        }
        for k in np.flatnonzero(count)
    ]
