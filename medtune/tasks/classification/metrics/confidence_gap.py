"""Confidence less accuracy: above 0 the probabilities promise too much, below 0 too little."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import ClassificationStats, WeightedStats


def confidence_gap(stats: WeightedStats) -> Floats:
    """(R,) mean probability of the most probable class less the share of images where it is right."""
    return stats.weights @ stats.stats.confidence_gap / stats.actual.sum(axis=1)


def bounds_of(stats: ClassificationStats) -> tuple[float, float]:
    """Return the gaps at an accuracy of 1 and of 0: its distribution is skewed as that of the accuracy is."""
    confidence = (stats.confidence_gap.sum() + stats.right.sum()) / stats.width
    return float(confidence - 1), float(confidence)


METRIC = Metric(
    "confidence_gap",
    "confidence less accuracy",
    "target",
    confidence_gap,
    order=71,
    bounds=(-1.0, 1.0),
    bounds_of=bounds_of,
    skewed=True,
    min_patients=20,
)
