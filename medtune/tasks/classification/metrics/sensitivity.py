"""Recall of class 1 where there are two classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, binary


def sensitivity(stats: WeightedStats) -> Floats:
    """(R,) TP / (TP + FN) of class 1."""
    return stats.recall[:, 1]


METRIC = Metric("sensitivity", "sensitivity", "max", sensitivity, order=90, defined=binary)
