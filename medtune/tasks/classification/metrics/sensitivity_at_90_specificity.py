"""Sensitivity at a specificity of at least 0.90, for two classes."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification import ranking
from medtune.tasks.classification.statistics import WeightedStats, binary, patients_of_all


def sensitivity_at_90_specificity(stats: WeightedStats) -> Floats:
    """Compute the highest sensitivity (R,) at this specificity. Each weighting of the patients has its threshold."""
    if not stats.stats.rankings:
        return stats.undefined
    return ranking.sensitivity_at(stats.stats.rankings[0], stats.image_weights, 0.90)


METRIC = Metric(
    "sensitivity_at_90_specificity",
    "sensitivity at 90 % specificity",
    "max",
    sensitivity_at_90_specificity,
    order=94,
    defined=binary,
    of_positive=True,
    sample_size=patients_of_all,
    no_interval=ranking.STEPWISE,
)
