"""Macro recall: mean recall over the classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, patients_of_all


def macro_recall(stats: WeightedStats) -> Floats:
    """Compute the mean of TP / (TP + FN) over the classes in the labels (R,), one value per weighting."""
    return stats.macro_recall


METRIC = Metric(
    "macro_recall", "macro recall", "max", macro_recall, order=50, sample_size=patients_of_all, size_power=0
)
