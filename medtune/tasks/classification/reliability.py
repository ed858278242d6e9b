"""How far confidence is from accuracy: expected calibration error and reliability table."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def ece(labels: Ints, probabilities: Floats, bins: int = 15) -> float:
    """Expected calibration error of the most probable class, 0..1: equal-width bins, (lower, upper]."""
    return float(ece_of(bin_sums(labels, probabilities, np.zeros(len(labels), np.int64), 1, bins))[0])


def reliability(labels: Ints, probabilities: Floats, bins: int = 15) -> list[dict[str, float | int]]:
    """`{lower, upper, images, confidence, accuracy}` of every confidence bin that holds an image."""
    count, confidence, hits = bin_sums(labels, probabilities, np.zeros(len(labels), np.int64), 1, bins).reshape(3, bins)
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


def bin_sums(labels: Ints, probabilities: Floats, member: Ints, n_groups: int, bins: int) -> Floats:
    """(groups, 3 * bins): each group's images, summed confidence and hits, by confidence bin."""
    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == labels
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    place = member * bins + np.searchsorted(inner, confidence, side="left")
    sums = [np.bincount(place, weights=w, minlength=n_groups * bins) for w in (None, confidence, hit)]
    return np.concatenate([s.reshape(n_groups, bins).astype(np.float64) for s in sums], axis=1)


def ece_of(sums: Floats) -> Floats:
    """Expected calibration error (R,) from (weighted) bin sums (R, 3 * bins)."""
    count, confidence, hits = np.split(sums, 3, axis=1)
    return np.abs(confidence - hits).sum(axis=1) / count.sum(axis=1)
