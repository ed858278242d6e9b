"""Calibration slope: below 1, the probabilities are too extreme; above 1, not extreme enough."""

from medtune.evaluation.metric import UNBOUNDED, Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, patients_of_all


def calibration_slope(stats: WeightedStats) -> Floats:
    """Compute the slope of the logistic regression of the outcome on the logit of its probability.

    With two classes, the outcome is the positive class. With more classes, the outcome is that the most probable class
    is correct.

    Args:
        stats: weighted statistics.

    Returns:
        (R,) slopes, one per weighting of the patients.
    """
    return stats.recalibrated[:, 1]


METRIC = Metric(
    "calibration_slope",
    "calibration slope",
    "target",
    calibration_slope,
    order=72,
    bounds=UNBOUNDED,
    sample_size=patients_of_all,
    skewed=True,
    min_patients=12,
    size_power=1,
    target=1.0,
)
