"""Candidates for label errors, found by confident learning.

Northcutt, Jiang and Chuang, 2021, "Confident learning: estimating uncertainty in dataset labels", eq. 1 to 3. The
predictions come from networks that were not trained on the images.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidates:
    """Images whose label is probably wrong, the most suspicious first.

    Attributes:
        positions: (m,) positions of the images in the arguments of `find_label_errors`.
        suggested: (m,) class index that is suggested for each of these images.
    """

    positions: Ints
    suggested: Ints


def average_predictions(rows: Ints, probabilities: Floats) -> tuple[Ints, Ints, Floats]:
    """Average the predictions of images that several networks predicted.

    Args:
        rows: (p,) image index of each prediction.
        probabilities: (p, k) probabilities of each prediction.

    Returns:
        Image indices (n,) in ascending order, the position of each image's first prediction (n,), and the mean
        probabilities (n, k).
    """
    images, first, member, counts = np.unique(rows, return_index=True, return_inverse=True, return_counts=True)
    sums = np.zeros((len(images), probabilities.shape[1]))
    np.add.at(sums, member, probabilities)
    return images, first, sums / counts[:, None]


def find_label_errors(labels: Ints, probabilities: Floats) -> Candidates:
    """Find images whose label is probably wrong, and rank them.

    1. The threshold of a class is the mean probability of the class over the images with this label.
    2. Each image is assigned to its most probable class among the classes whose thresholds it reaches, if any.
    3. The assigned images are counted by label and class, and the counts are scaled to the number of images per label.
       They estimate how many images of a label belong to each other class.
    4. For each label and other class, this number of images is selected ("prune by noise rate"). The selected images
       have the largest margins: the probability of the other class minus that of the label. Margins are positive.

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes) out-of-sample probabilities.

    Returns:
        The candidates, sorted by margin, the largest first.
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
        of_label, members = pairs[0] == label, np.flatnonzero(labels == label)
        for other, count in zip(pairs[1][of_label], counts[of_label], strict=True):
            if other == label:
                continue
            margin = probabilities[members, other] - probabilities[members, label]
            selected = np.argsort(-margin, kind="stable")[: round(count / counts[of_label].sum() * len(members))]
            better = selected[margin[selected] > np.maximum(margins[members[selected]], 0)]
            margins[members[better]], suggested[members[better]] = margin[better], other
    suspicious = np.flatnonzero(suggested != labels)
    order = suspicious[np.argsort(-margins[suspicious], kind="stable")]
    return Candidates(order, suggested[order])
