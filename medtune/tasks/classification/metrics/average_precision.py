"""Average precision, the area under the precision-recall curve (PR-AUC), for two classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification import ranking
from medtune.tasks.classification.statistics import WeightedStats, binary, patients_of_all


def average_precision(stats: WeightedStats) -> Floats:
    """Compute scikit-learn's average precision (R,), one value per weighting; NaN if the labels have a single class."""
    if not stats.stats.rankings:
        return stats.undefined
    return ranking.average_precision(stats.stats.rankings[0], stats.image_weights)


METRIC = Metric(
    "average_precision",
    "average precision (PR-AUC)",
    "max",
    average_precision,
    order=110,
    defined=binary,
    of_positive=True,
    sample_size=patients_of_all,
)
