"""Metrics of a classifier, one file each; a new file is found by its name.

Averages over classes run over the classes present in the labels (scikit-learn's `labels=present`, `zero_division=0`):
a class that the test images lack counts neither as 0 nor as 1, and a present class that is never predicted has
precision 0. The same conventions hold for the whole set and without some of its patients.

Each file defines `METRIC`, a `medtune.evaluation.metric.Metric` whose formula takes
`medtune.tasks.classification.statistics.WeightedStats`. No torch here: the training loop scores with it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medtune.config import registry
from medtune.evaluation.metric import Floats, Metric, compute, in_order, values
from medtune.tasks.classification.statistics import ClassificationStats, Ints, accumulate

METRICS: tuple[Metric, ...] = in_order(module.METRIC for module in registry.load_all(__name__))
EACH_EPOCH = tuple(metric for metric in METRICS if metric.each_epoch)


def example(patients: Sequence[str], seed: int) -> ClassificationStats:
    """Statistics of made-up predictions: two classes for an even seed, else four, ordered.

    Args:
        patients: one name per patient; equal names have equal images, and still are several patients.
        seed: of the images.
    """
    classes = 4 if seed % 2 else 2
    images = []
    for position, name in enumerate(patients):
        draw = np.random.default_rng([seed, *name.encode()])
        labels, scores = draw.integers(0, classes, 9), draw.normal(size=(9, classes))
        images.append((labels, np.exp(scores + 2 * np.eye(classes)[labels]), np.full(9, f"{position:06}")))
    labels, scores, ids = (np.concatenate(part) for part in zip(*images, strict=True))
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    return accumulate(labels, probabilities, probabilities.argmax(axis=1), ids, ordinal=classes > 2)


def compute_all(
    labels: Ints,
    probabilities: Floats,
    predictions: Ints,
    patients: npt.NDArray,
    ordinal: bool = False,
) -> dict[str, float | None]:
    """Compute every metric of a set of images, by name; None where undefined. Arguments as in `accumulate`."""
    return values(METRICS, accumulate(labels, probabilities, predictions, patients, ordinal))


def score(labels: npt.NDArray, probabilities: npt.NDArray) -> dict[str, float]:
    """Compute the metrics of each epoch for the most probable classes.

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes).

    Returns:
        Values by name; NaN where undefined, as the AUROC of labels of one class.

    Raises:
        ValueError: no images, or a probability that is not finite.
    """
    everyone = np.zeros(len(labels), np.int64)  # one patient: these metrics do not depend on patients
    stats = accumulate(labels, probabilities, np.argmax(probabilities, axis=1), everyone)
    return {name: float(value[0]) for name, value in compute(EACH_EPOCH, stats).items()}
