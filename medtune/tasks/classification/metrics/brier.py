"""Brier score: mean squared distance of the probabilities from what is true."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats


def brier(stats: WeightedStats) -> Floats:
    """(R,) half of Brier's (1950) sum over classes: 0 is perfect, always stating 0.5 of two gives 0.25."""
    return stats.weights @ stats.stats.brier / stats.actual.sum(axis=1)


METRIC = Metric("brier", "Brier score", "min", brier, order=70, skewed=True)
