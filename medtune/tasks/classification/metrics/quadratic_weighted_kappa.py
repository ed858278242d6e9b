"""Cohen's kappa with quadratic weights, for ordinal labels such as grades."""

import numpy as np

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import ClassificationStats, WeightedStats, patients_of_all


def quadratic_weighted_kappa(stats: WeightedStats) -> Floats:
    """Compute 1 - observed / expected, for the squared distances between label and prediction.

    Args:
        stats: weighted statistics.

    Returns:
        (R,) kappa, one value per weighting of the patients; NaN if all labels and predictions are the same class.
    """
    grades = np.arange(stats.stats.n_classes)
    squared = np.subtract.outer(grades, grades).ravel() ** 2
    observed = stats.weights @ (stats.stats.confusion @ squared)
    actual, predicted = stats.actual, stats.predicted
    images = actual.sum(axis=1)
    # Sum over i, j of (i - j)^2 actual[i] predicted[j] / images.
    expected = (actual @ grades**2 + predicted @ grades**2) - 2 * (actual @ grades) * (predicted @ grades) / images
    return np.where(expected > 0, 1 - observed / expected, np.nan)


def ordinal(stats: ClassificationStats) -> bool:
    """Return True if the classes are ordered."""
    return stats.ordinal


METRIC = Metric(
    "quadratic_weighted_kappa",
    "quadratic weighted kappa",
    "max",
    quadratic_weighted_kappa,
    order=57,
    defined=ordinal,
    bounds=(-1.0, 1.0),
    sample_size=patients_of_all,
)
