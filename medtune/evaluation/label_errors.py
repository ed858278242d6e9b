"""Candidates for label errors: confident learning (Northcutt, Jiang and Chuang, 2021, "Confident learning: estimating
uncertainty in dataset labels", eq. 1 to 3), from predictions of networks that were not trained on the images.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Images whose label is doubtful, the most doubtful first.

    Attributes:
        positions: (m,) positions in the images that were given.
        suggested: (m,) class indices.
    """

    positions: Ints
    suggested: Ints


def average_predictions(rows: Ints, probabilities: Floats) -> tuple[Ints, Ints, Floats]:
    """Average the predictions of images that several networks predicted.

    Args:
        rows: (p,) image of each prediction.
        probabilities: (p, k) of each prediction.

    Returns:
        The images (n,), ascending; the position of the first prediction of each (n,); the means (n, k).
    """
    images, first, member, counts = np.unique(rows, return_index=True, return_inverse=True, return_counts=True)
    sums = np.zeros((len(images), probabilities.shape[1]))
    np.add.at(sums, member, probabilities)
    return images, first, sums / counts[:, None]


def find_label_errors(labels: Ints, probabilities: Floats) -> Candidates:
    """Find images that probably belong to another class than their label's, and rank them.

    The threshold of a class is the mean probability of that class among the images labelled so. An image counts for the
    most probable of the classes whose thresholds it reaches. The counts by label and class, scaled to the images of
    each label, estimate how many images of a label belong to each other class. As many are taken, by the margin: the
    probability of the other class minus that of the label, which must be positive ("prune by noise rate").

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes), out of sample.
    """
    n, classes = probabilities.shape
    thresholds = np.full(classes, np.inf)
    for k in np.unique(labels):
        thresholds[k] = probabilities[labels == k, k].mean()
    reached = np.where(probabilities >= thresholds, probabilities, -np.inf)
    confident = np.isfinite(reached.max(axis=1))
    pairs, counts = np.unique(
        np.stack([labels[confident], reached.argmax(axis=1)[confident]]), axis=1, return_counts=True
    )
    margins, suggested = np.full(n, -np.inf), labels.astype(np.int64)
    for label in np.unique(pairs[0]):
        own, members = pairs[0] == label, np.flatnonzero(labels == label)
        for other, count in zip(pairs[1][own], counts[own], strict=True):
            if other == label:
                continue
            margin = probabilities[members, other] - probabilities[members, label]
            taken = np.argsort(-margin, kind="stable")[: round(count / counts[own].sum() * len(members))]
            better = taken[margin[taken] > np.maximum(margins[members[taken]], 0)]
            margins[members[better]], suggested[members[better]] = margin[better], other
    doubtful = np.flatnonzero(suggested != labels)
    order = doubtful[np.argsort(-margins[doubtful], kind="stable")]
    return Candidates(order, suggested[order])
