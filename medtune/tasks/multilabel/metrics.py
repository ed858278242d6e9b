"""Metrics of several findings: each is computed per finding, and averaged over the findings.

The average runs over the findings that the images both show and lack, and says nothing of the others; it is undefined
where there are none. No torch here: the training loop scores with it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medtune.evaluation.metric import UNBOUNDED, Floats, Metric, compute
from medtune.tasks.multilabel.statistics import (
    FindingStats,
    WeightedFindings,
    accumulate,
    effective_patients,
    patients_of_all,
    patients_with,
)


def auroc(stats: WeightedFindings) -> Floats:
    """(R,) mean area under the ROC curve."""
    return stats.macro(stats.auroc)


def average_precision(stats: WeightedFindings) -> Floats:
    """(R,) mean average precision."""
    return stats.macro(stats.average_precision)


def macro_f1(stats: WeightedFindings) -> Floats:
    """(R,) mean F1 by the decision."""
    return stats.macro(stats.f1)


def balanced_accuracy(stats: WeightedFindings) -> Floats:
    """(R,) mean of sensitivity and specificity by the decision."""
    return stats.macro(stats.balanced_accuracy)


def sensitivity(stats: WeightedFindings) -> Floats:
    """(R,) mean sensitivity by the decision."""
    return stats.macro(stats.sensitivity)


def specificity(stats: WeightedFindings) -> Floats:
    """(R,) mean specificity by the decision."""
    return stats.macro(stats.specificity)


def brier(stats: WeightedFindings) -> Floats:
    """(R,) mean Brier score."""
    return stats.macro(stats.brier)


def confidence_gap(stats: WeightedFindings) -> Floats:
    """(R,) mean of confidence less accuracy."""
    return stats.macro(stats.confidence_gap)


def calibration_slope(stats: WeightedFindings) -> Floats:
    """(R,) slope of the labels on the logits of their probabilities, all findings together."""
    return stats.calibration_slope


def calibration_intercept(stats: WeightedFindings) -> Floats:
    """(R,) shift of the logits that makes the mean probability right, all findings together."""
    return stats.calibration_intercept


def gap_bounds(stats: FindingStats) -> tuple[float, float]:
    """Return the confidence gaps at an accuracy of 1 and of 0: it is skewed as the accuracy is."""
    scored, images = stats.scored, stats.images.sum()
    confidence = (stats.confidence_gap + stats.right).sum(axis=0)[scored] / images
    return (float(confidence.mean() - 1), float(confidence.mean())) if scored.any() else (-1.0, 1.0)


CONFIDENCE_GAP = Metric(
    "confidence_gap",
    "macro confidence less accuracy",
    "target",
    confidence_gap,
    order=71,
    bounds=(-1.0, 1.0),
    bounds_of=gap_bounds,
    skewed=True,
    min_patients=20,
)
METRICS = (
    Metric("auroc", "macro AUROC", "max", auroc, order=10, each_epoch=True, headline=True, rests_on=patients_of_all),
    Metric(
        "average_precision",
        "macro average precision",
        "max",
        average_precision,
        order=20,
        each_epoch=True,
        headline=True,
        rests_on=patients_of_all,
    ),
    Metric("macro_f1", "macro F1", "max", macro_f1, order=30, each_epoch=True, headline=True, rests_on=patients_of_all),
    Metric(
        "balanced_accuracy",
        "macro balanced accuracy",
        "max",
        balanced_accuracy,
        order=40,
        each_epoch=True,
        rests_on=patients_of_all,
    ),
    Metric("sensitivity", "macro sensitivity", "max", sensitivity, order=50, rests_on=patients_of_all),
    Metric("specificity", "macro specificity", "max", specificity, order=60, rests_on=patients_of_all),
    Metric("brier", "macro Brier score", "min", brier, order=70, skewed=True),
    CONFIDENCE_GAP,
    Metric(
        "calibration_slope", "calibration slope", "target", calibration_slope, order=72, bounds=UNBOUNDED, target=1.0
    ),
    Metric(
        "calibration_intercept", "calibration intercept", "target", calibration_intercept, order=73, bounds=UNBOUNDED
    ),
)
EACH_EPOCH = tuple(metric for metric in METRICS if metric.each_epoch)
# Of one finding, in the order of tables: properties of `WeightedFindings`.
OF_A_FINDING = ("auroc", "average_precision", "sensitivity", "specificity", "f1")


def of_finding(index: int) -> dict[str, Metric]:
    """Metrics of one finding by name; the names in them are unique among all findings."""

    def metric(name: str) -> Metric:
        rate = name in ("sensitivity", "specificity")
        return Metric(
            f"{name}_{index}",
            name,
            "max",
            lambda stats: getattr(stats, name)[:, index],
            rests_on=patients_with(index) if rate else effective_patients(index),
            min_patients=9 if rate else 4,
            size_power=0,
        )

    return {name: metric(name) for name in OF_A_FINDING}


def example(patients: Sequence[str], seed: int) -> FindingStats:
    """Statistics of made-up predictions of three findings.

    Args:
        patients: one name per patient; equal names have equal images, and still are several patients.
        seed: of the images.
    """
    labels, scores = [], []
    for name in patients:
        draw = np.random.default_rng([seed, *name.encode()])
        labels.append(draw.random((9, 3)) < 0.4)
        scores.append(1 / (1 + np.exp(-draw.normal(size=(9, 3)) - 2 * labels[-1])))
    ids = np.repeat([f"{position:06}" for position in range(len(patients))], 9)
    probabilities = np.concatenate(scores)
    return accumulate(np.concatenate(labels), probabilities, probabilities >= 0.6, ids)


def score(labels: npt.NDArray, probabilities: npt.NDArray) -> dict[str, float]:
    """Compute the metrics of each epoch, with the threshold 0.5.

    Args:
        labels: (n, findings), 1 where the image shows the finding.
        probabilities: (n, findings).

    Returns:
        Values by name; NaN where undefined.

    Raises:
        ValueError: no images, or a probability that is not finite.
    """
    everyone = np.zeros(len(labels), np.int64)  # one patient: these metrics do not depend on patients
    stats = accumulate(labels, probabilities, probabilities >= 0.5, everyone)
    return {name: float(value[0]) for name, value in compute(EACH_EPOCH, stats).items()}
