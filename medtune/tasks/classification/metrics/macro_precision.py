"""Macro precision: mean precision over the classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, patients_of_all


def macro_precision(stats: WeightedStats) -> Floats:
    """Compute the mean of TP / (TP + FP) over the classes in the labels (R,), one value per weighting."""
    return stats.macro_precision


METRIC = Metric(
    "macro_precision", "macro precision", "max", macro_precision, order=40, sample_size=patients_of_all, size_power=1
)
