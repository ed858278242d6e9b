"""Multilabel metrics, computed per finding and averaged over the findings.

A finding is scored if some images show it and others do not. A macro metric is the average over the scored findings. It
is undefined without scored findings. Formulas return (R,) values, one for each of R weightings of the patients
(`WeightedFindings`). This module must not import torch.
"""

from collections.abc import Sequence
from typing import Any

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
    """Compute the mean area under the ROC curve (R,)."""
    return stats.macro(stats.auroc)


def average_precision(stats: WeightedFindings) -> Floats:
    """Compute the mean average precision (R,)."""
    return stats.macro(stats.average_precision)


def macro_f1(stats: WeightedFindings) -> Floats:
    """Compute the mean F1 of the decisions (R,)."""
    return stats.macro(stats.f1)


def balanced_accuracy(stats: WeightedFindings) -> Floats:
    """Compute the mean balanced accuracy of the decisions (R,)."""
    return stats.macro(stats.balanced_accuracy)


def sensitivity(stats: WeightedFindings) -> Floats:
    """Compute the mean sensitivity of the decisions (R,)."""
    return stats.macro(stats.sensitivity)


def specificity(stats: WeightedFindings) -> Floats:
    """Compute the mean specificity of the decisions (R,)."""
    return stats.macro(stats.specificity)


def brier(stats: WeightedFindings) -> Floats:
    """Compute the mean Brier score (R,)."""
    return stats.macro(stats.brier)


def confidence_gap(stats: WeightedFindings) -> Floats:
    """Compute the mean of confidence minus accuracy (R,)."""
    return stats.macro(stats.confidence_gap)


def calibration_slope(stats: WeightedFindings) -> Floats:
    """Compute the calibration slope of all findings together (R,)."""
    return stats.calibration_slope


def calibration_intercept(stats: WeightedFindings) -> Floats:
    """Compute the calibration intercept of all findings together (R,)."""
    return stats.calibration_intercept


def gap_bounds(stats: FindingStats) -> tuple[float, float]:
    """Return the bounds of the confidence gap for the scale of its interval.

    The bounds are the gaps at accuracy 1 and 0 for the mean confidence of the images. The interval uses these bounds,
    because the distribution of the gap is as skewed as that of the accuracy.

    Args:
        stats: statistics of the images.

    Returns:
        Lower and upper bound.
    """
    scored, images = stats.scored, stats.images.sum()
    confidence = (stats.confidence_gap + stats.correct).sum(axis=0)[scored] / images
    return (float(confidence.mean() - 1), float(confidence.mean())) if scored.any() else (-1.0, 1.0)


CONFIDENCE_GAP = Metric(
    "confidence_gap",
    "macro confidence minus accuracy",
    "target",
    confidence_gap,
    order=71,
    bounds=(-1.0, 1.0),
    bounds_of=gap_bounds,
    skewed=True,
    min_patients=20,
)
METRICS = (
    Metric("auroc", "macro AUROC", "max", auroc, order=10, each_epoch=True, headline=True, sample_size=patients_of_all),
    Metric(
        "average_precision",
        "macro average precision",
        "max",
        average_precision,
        order=20,
        each_epoch=True,
        headline=True,
        sample_size=patients_of_all,
    ),
    Metric(
        "macro_f1", "macro F1", "max", macro_f1, order=30, each_epoch=True, headline=True, sample_size=patients_of_all
    ),
    Metric(
        "balanced_accuracy",
        "macro balanced accuracy",
        "max",
        balanced_accuracy,
        order=40,
        each_epoch=True,
        sample_size=patients_of_all,
    ),
    Metric("sensitivity", "macro sensitivity", "max", sensitivity, order=50, sample_size=patients_of_all),
    Metric("specificity", "macro specificity", "max", specificity, order=60, sample_size=patients_of_all),
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
# Properties of `WeightedFindings` that are reported per finding, in table order.
FINDING_METRICS = ("auroc", "average_precision", "sensitivity", "specificity", "f1")


def finding_metrics(index: int) -> dict[str, Metric]:
    """Return the metrics of one finding by short name; `Metric.name` is unique across findings."""

    def metric(name: str) -> Metric:
        rate = name in ("sensitivity", "specificity")
        return Metric(
            f"{name}_{index}",
            name,
            "max",
            lambda stats: getattr(stats, name)[:, index],
            sample_size=patients_with(index) if rate else effective_patients(index),
            min_patients=9 if rate else 4,
            size_power=0,
        )

    return {name: metric(name) for name in FINDING_METRICS}


def example(patients: Sequence[str], seed: int) -> FindingStats:
    """Create statistics of synthetic predictions of three findings.

    Args:
        patients: one name per patient. Patients with equal names have equal images.
        seed: random seed.

    Returns:
        The statistics.
    """
    labels, scores = [], []
    for name in patients:
        draw = np.random.default_rng([seed, *name.encode()])
        labels.append(draw.random((9, 3)) < 0.4)
        scores.append(1 / (1 + np.exp(-draw.normal(size=(9, 3)) - 2 * labels[-1])))
    ids = np.repeat([f"{position:06}" for position in range(len(patients))], 9)
    probabilities = np.concatenate(scores)
    return accumulate(np.concatenate(labels), probabilities, probabilities >= 0.6, ids)


def score(labels: npt.NDArray[Any], probabilities: npt.NDArray[Any]) -> dict[str, float]:
    """Compute the per-epoch metrics with the threshold 0.5.

    Args:
        labels: (n, findings) 1 if the image shows the finding.
        probabilities: (n, findings) probabilities.

    Returns:
        Values by name; NaN where undefined.

    Raises:
        ValueError: no images, or a probability that is not finite.
    """
    patients = np.zeros(len(labels), np.int64)  # a single patient, because patients do not affect these metrics
    stats = accumulate(labels, probabilities, probabilities >= 0.5, patients)
    return {name: float(value[0]) for name, value in compute(EACH_EPOCH, stats).items()}
