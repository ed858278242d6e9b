"""Balanced accuracy: mean recall over the classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, patients_of_all


def balanced_accuracy(stats: WeightedStats) -> Floats:
    """Compute the balanced accuracy (R,), one value per weighting of the patients. It equals macro recall."""
    return stats.macro_recall


METRIC = Metric(
    "balanced_accuracy",
    "balanced accuracy",
    "max",
    balanced_accuracy,
    order=20,
    each_epoch=True,
    headline=True,
    sample_size=patients_of_all,
    size_power=0,
)
