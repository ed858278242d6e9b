"""Recall of the negative class where there are two classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, binary, patients_of


def specificity(stats: WeightedStats) -> Floats:
    """(R,) TN / (TN + FP): the negative class has index 0."""
    return stats.recall[:, 0]


METRIC = Metric(
    "specificity",
    "specificity",
    "max",
    specificity,
    order=100,
    defined=binary,
    of_positive=True,
    rests_on=patients_of(0),
)
