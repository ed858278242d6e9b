"""F1 as defined in the paper of CDTM (Li et al. 2024), which differs from the usual macro F1."""

import numpy as np

from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import WeightedStats, patients_of_all


def paper_f1(stats: WeightedStats) -> Floats:
    """Compute the harmonic mean of macro precision and macro recall (R,), one value per weighting; 0 if both are 0."""
    total = stats.macro_precision + stats.macro_recall
    return np.where(total == 0, 0.0, 2 * stats.macro_precision * stats.macro_recall / total)


METRIC = Metric(
    "paper_f1", "F1 of the CDTM paper", "max", paper_f1, order=120, sample_size=patients_of_all, size_power=1
)
