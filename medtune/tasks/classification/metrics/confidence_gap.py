"""Confidence less accuracy: above 0 the probabilities promise too much, below 0 too little."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats


def confidence_gap(stats: WeightedStats) -> Floats:
    """(R,) mean probability of the most probable class less the share of images where it is right."""
    return stats.weights @ stats.stats.confidence_gap / stats.actual.sum(axis=1)


METRIC = Metric("confidence_gap", "confidence less accuracy", "target", confidence_gap, order=71, bounds=(-1.0, 1.0))
