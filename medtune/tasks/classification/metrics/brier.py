"""Brier score: half the mean squared distance of the probabilities from the label."""

import numpy as np

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats


def brier(stats: WeightedStats) -> Floats:
    """Compute half of Brier's (1950) sum over classes (R,), one value per weighting of the patients.

    For two classes, constant probabilities of 0.5 give 0.25.

    Args:
        stats: weighted statistics.

    Returns:
        (R,) Brier scores.
    """
    return np.asarray(stats.weights @ stats.stats.brier / stats.actual.sum(axis=1))


METRIC = Metric("brier", "Brier score", "min", brier, order=70, skewed=True)
