"""Patient recognition rate: mean fraction of correct images per patient (Spanhol et al. 2016)."""

import numpy as np

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats


def patient_recognition_rate(stats: WeightedStats) -> Floats:
    """Compute the mean of the patients' fractions of correct images (R,), one value per weighting of the patients."""
    return np.asarray(stats.weights @ stats.stats.recognized / stats.weights.sum(axis=1))


METRIC = Metric("patient_recognition_rate", "patient recognition rate", "max", patient_recognition_rate, order=80)
