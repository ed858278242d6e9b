"""Sensitivity: recall of the positive class, for two classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import MIN_PATIENTS_OF_CLASS, WeightedStats, binary, patients_of


def sensitivity(stats: WeightedStats) -> Floats:
    """Compute TP / (TP + FN) of the positive class, which has index 1 (R,), one value per weighting."""
    return stats.recall[:, 1]


METRIC = Metric(
    "sensitivity",
    "sensitivity",
    "max",
    sensitivity,
    order=90,
    defined=binary,
    of_positive=True,
    sample_size=patients_of(1),
    size_power=0,
    min_patients=MIN_PATIENTS_OF_CLASS,
)
