"""Specificity: recall of the negative class, for two classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import MIN_PATIENTS_OF_CLASS, WeightedStats, binary, patients_of


def specificity(stats: WeightedStats) -> Floats:
    """Compute TN / (TN + FP), the recall of the negative class with index 0 (R,), one value per weighting."""
    return stats.recall[:, 0]


METRIC = Metric(
    "specificity",
    "specificity",
    "max",
    specificity,
    order=100,
    defined=binary,
    of_positive=True,
    sample_size=patients_of(0),
    size_power=0,
    min_patients=MIN_PATIENTS_OF_CLASS,
)
