"""Calibration intercept: above 0 the outcome is more frequent than the probabilities state, below 0 less."""

from medtune.evaluation.metric import UNBOUNDED, Floats, Metric
from medtune.tasks.classification.recalibration import fit_intercept
from medtune.tasks.classification.statistics import WeightedStats, patients_of_all


def calibration_intercept(stats: WeightedStats) -> Floats:
    """(R,) shift of the logits that makes the mean probability right; the outcome as in `calibration_slope`."""
    return fit_intercept(stats.stats.logits, stats.stats.outcomes, stats.image_weights)


METRIC = Metric(
    "calibration_intercept",
    "calibration intercept",
    "target",
    calibration_intercept,
    order=73,
    bounds=UNBOUNDED,
    rests_on=patients_of_all,
    skewed=True,
)
