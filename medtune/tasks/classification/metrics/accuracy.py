"""Accuracy: fraction of correct images."""

import numpy as np

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats


def accuracy(stats: WeightedStats) -> Floats:
    """Compute the accuracy (R,), one value per weighting of the patients."""
    return np.asarray(stats.correct.sum(axis=1) / stats.actual.sum(axis=1))


METRIC = Metric("accuracy", "accuracy", "max", accuracy, order=10, each_epoch=True)
