"""How far confidence is from accuracy, by confidence: the table behind the reliability plot."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def reliability(labels: Ints, probabilities: Floats, bins: int = 15) -> list[dict[str, float | int]]:
    """`{lower, upper, images, confidence, accuracy}` of every confidence bin (lower, upper] that holds an image."""
    stated, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], stated, side="left")
    count, confidence, hits = (np.bincount(place, weights=w, minlength=bins) for w in (None, stated, right))
    return [
        {
            "lower": k / bins,
            "upper": (k + 1) / bins,
            "images": int(count[k]),
            "confidence": confidence[k] / count[k],
            "accuracy": hits[k] / count[k],
        }
        for k in np.flatnonzero(count)
    ]
