"""Mean share of a patient's images that are correct (Spanhol et al. 2016)."""

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats


def patient_recognition_rate(stats: WeightedStats) -> Floats:
    """(R,) mean over patients."""
    return stats.weights @ stats.stats.recognized / stats.weights.sum(axis=1)


METRIC = Metric("patient_recognition_rate", "patient recognition rate", "max", patient_recognition_rate, order=80)
