"""Calibration intercept: above 0, the outcome is more frequent than predicted; below 0, less frequent."""

from medtune.evaluation.metric import UNBOUNDED, Floats, Metric
from medtune.tasks.classification.recalibration import fit_intercept
from medtune.tasks.classification.statistics import WeightedStats, patients_of_all


def calibration_intercept(stats: WeightedStats) -> Floats:
    """Compute the shift of the logits that makes the mean probability equal to the frequency of the outcome.

    With two classes, the outcome is the positive class. With more classes, the outcome is that the most probable class
    is correct.

    Args:
        stats: weighted statistics.

    Returns:
        (R,) shifts, one per weighting of the patients.
    """
    return fit_intercept(stats.stats.logits, stats.stats.outcomes, stats.image_weights)


METRIC = Metric(
    "calibration_intercept",
    "calibration intercept",
    "target",
    calibration_intercept,
    order=73,
    bounds=UNBOUNDED,
    sample_size=patients_of_all,
    skewed=True,
)
