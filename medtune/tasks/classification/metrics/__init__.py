"""Metrics of a classifier, one file per metric. New files are registered automatically.

Averages over classes include only the classes in the labels (scikit-learn's `labels=present`, `zero_division=0`). An
absent class therefore counts neither as 0 nor as 1. A class that is never predicted has precision 0. The same rules
apply to the complete set and to subsets of its patients.

Each file defines `METRIC`, a `medtune.evaluation.metric.Metric` whose formula takes
`medtune.tasks.classification.statistics.WeightedStats`. This package must not import torch.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.config import registry
from medtune.evaluation.metric import Floats, Metric, compute, sort_metrics, values
from medtune.tasks.classification.statistics import ClassificationStats, Ints, accumulate

METRICS: tuple[Metric, ...] = sort_metrics(module.METRIC for module in registry.load_all(__name__))
EACH_EPOCH = tuple(metric for metric in METRICS if metric.each_epoch)


def example(patients: Sequence[str], seed: int) -> ClassificationStats:
    """Create statistics of synthetic predictions.

    Args:
        patients: one name per patient. Patients with equal names have equal images.
        seed: random seed. An even seed gives two classes, an odd seed four ordered classes.

    Returns:
        The statistics.
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
    patients: npt.NDArray[Any],
    ordinal: bool = False,
) -> dict[str, float | None]:
    """Compute all metrics by name, None where undefined. The arguments are those of `accumulate`."""
    return values(METRICS, accumulate(labels, probabilities, predictions, patients, ordinal))


def score(labels: npt.NDArray[Any], probabilities: npt.NDArray[Any]) -> dict[str, float]:
    """Compute the per-epoch metrics of the most probable classes.

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes) probabilities.

    Returns:
        Values by name. Undefined values, such as the AUROC of a single class, are NaN.

    Raises:
        ValueError: no images, or a probability that is not finite.
    """
    patients = np.zeros(len(labels), np.int64)  # a single patient, because patients do not affect these metrics
    stats = accumulate(labels, probabilities, np.argmax(probabilities, axis=1), patients)
    return {name: float(value[0]) for name, value in compute(EACH_EPOCH, stats).items()}
