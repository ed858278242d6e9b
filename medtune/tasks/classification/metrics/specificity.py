"""Recall of class 0 where there are two classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, binary


def specificity(stats: WeightedStats) -> Floats:
    """(R,) TN / (TN + FP) of class 1."""
    return stats.recall[:, 0]


METRIC = Metric("specificity", "specificity", "max", specificity, order=100, defined=binary)
