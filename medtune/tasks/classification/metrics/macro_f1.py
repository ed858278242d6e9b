"""Macro F1: mean F1 over the classes."""

import numpy as np

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, patients_of_all


def macro_f1(stats: WeightedStats) -> Floats:
    """Compute the mean of 2 TP / (2 TP + FP + FN) over the classes in the labels (R,), one value per weighting."""
    return stats.macro(np.where(stats.actual > 0, 2 * stats.correct / (stats.actual + stats.predicted), np.nan))


METRIC = Metric(
    "macro_f1",
    "macro F1",
    "max",
    macro_f1,
    order=30,
    each_epoch=True,
    headline=True,
    sample_size=patients_of_all,
    size_power=1,
)
