"""Area under the ROC curve."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats


def auroc(stats: WeightedStats) -> Floats:
    """(R,) of class 1 by its probability where there are two classes, else the one-vs-rest mean."""
    return stats.auroc


METRIC = Metric("auroc", "AUROC", "max", auroc, order=60, each_epoch=True, headline=True)
