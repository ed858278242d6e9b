"""Confidence minus accuracy: above 0, the model is overconfident; below 0, underconfident."""

import numpy as np

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import ClassificationStats, WeightedStats


def confidence_gap(stats: WeightedStats) -> Floats:
    """Compute the mean probability of the most probable class minus its accuracy (R,), one value per weighting."""
    return np.asarray(stats.weights @ stats.stats.confidence_gap / stats.actual.sum(axis=1))


def bounds_of(stats: ClassificationStats) -> tuple[float, float]:
    """Return the bounds of the gap for the scale of its interval.

    The bounds are the gaps at accuracy 1 and 0 for the mean confidence of the images. The interval uses these bounds,
    because the distribution of the gap is as skewed as that of the accuracy.

    Args:
        stats: statistics of the images.

    Returns:
        Lower and upper bound.
    """
    confidence = (stats.confidence_gap.sum() + stats.argmax_correct.sum()) / stats.width
    return float(confidence - 1), float(confidence)


METRIC = Metric(
    "confidence_gap",
    "confidence minus accuracy",
    "target",
    confidence_gap,
    order=71,
    bounds=(-1.0, 1.0),
    bounds_of=bounds_of,
    skewed=True,
    min_patients=20,
)
