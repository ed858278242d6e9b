"""Expected calibration error of the most probable class, independent of the decision rule."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.reliability import ece_of
from medtune.tasks.classification.statistics import WeightedStats


def ece(stats: WeightedStats) -> Floats:
    """(R,) mean distance of confidence from accuracy over the bins."""
    return ece_of(stats.weights @ stats.stats.bins)


METRIC = Metric("ece", "expected calibration error", "min", ece, order=70)
