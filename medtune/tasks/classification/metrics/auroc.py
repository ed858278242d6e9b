"""Area under the ROC curve."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, patients_of_all


def auroc(stats: WeightedStats) -> Floats:
    """Compute the AUROC (R,) per weighting: that of the positive class, or the one-vs-rest mean of several classes."""
    return stats.auroc


METRIC = Metric(
    "auroc",
    "AUROC",
    "max",
    auroc,
    order=60,
    each_epoch=True,
    headline=True,
    of_positive=True,
    sample_size=patients_of_all,
    size_power=0,
)
