"""Recall, precision and F1 per class, with confidence intervals over patients.

Formulas return (R,) values, one for each of R weightings of the patients (`WeightedStats`).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from medtune.evaluation.intervals import Interval, intervals
from medtune.evaluation.metric import Floats, Metric
from medtune.tasks.classification.statistics import (
    MIN_PATIENTS_OF_CLASS,
    ClassificationStats,
    WeightedStats,
    patients_of,
)


def recall(stats: WeightedStats, label: int) -> Floats:
    """Compute the recall (R,) of class `label`."""
    return stats.correct[:, label] / stats.actual[:, label]


def precision(stats: WeightedStats, label: int) -> Floats:
    """Compute the precision (R,) of class `label`; NaN without predictions of the class."""
    return stats.correct[:, label] / stats.predicted[:, label]


def f1(stats: WeightedStats, label: int) -> Floats:
    """Compute F1 (R,) of class `label`, 2 TP / (2 TP + FP + FN); NaN if the class has no images and no predictions."""
    return 2 * stats.correct[:, label] / (stats.actual[:, label] + stats.predicted[:, label])


FORMULAS = {"recall": recall, "precision": precision, "f1": f1}


def class_metrics(label: int) -> dict[str, Metric]:
    """Return the metrics of class `label` by short name; `Metric.name` is unique across classes."""

    def precision_patients(stats: ClassificationStats) -> int:
        """Count the patients with predictions of the class."""
        predicted = int(np.bincount(stats.predicted.indices, minlength=stats.n_classes)[label])
        images = np.asarray(stats.actual[:, [label]].todense()).ravel()
        # Few patients may have images of this class, or few may have other images. The smaller number is the limit.
        fewest = min(int((images > 0).sum()), int((images < stats.sizes).sum()))
        return predicted if fewest >= MIN_PATIENTS_OF_CLASS else min(predicted, fewest)

    sample_size = {"recall": patients_of(label), "precision": precision_patients, "f1": patients_of(label)}
    return {
        name: Metric(
            f"{name}_{label}",
            name,
            "max",
            partial(formula, label=label),
            sample_size=sample_size[name],
            min_patients=MIN_PATIENTS_OF_CLASS + (name == "f1"),
            size_power=0,
        )
        for name, formula in FORMULAS.items()
    }


def per_class(stats: ClassificationStats, classes: Sequence[str], confidence: float) -> list[dict[str, Any]]:
    """Compute the metrics of each class with confidence intervals.

    Args:
        stats: statistics of the test images.
        classes: class names.
        confidence: confidence level, 0..1.

    Returns:
        One row per class, `{class, support, predicted, patients, <metric>, <metric>_lo, <metric>_hi, ..., reason}`,
        with the metrics recall, precision and f1. Undefined values are None. `reason` explains a missing interval, or
        is None.
    """
    by_class = [class_metrics(label) for label in range(len(classes))]
    by_name = intervals([metric for metrics in by_class for metric in metrics.values()], stats, confidence)
    support, predicted = (
        np.asarray(counts.sum(axis=0)).astype(int).tolist() for counts in (stats.actual, stats.predicted)
    )
    patients = stats.patients_per_class().tolist()
    rows = []
    for label, name in enumerate(classes):
        row: dict[str, Any] = {
            "class": name,
            "support": support[label],
            "predicted": predicted[label],
            "patients": patients[label],
        }
        values = {short: by_name[metric.name] for short, metric in by_class[label].items()}
        for short, interval in values.items():
            row |= {short: interval.value, f"{short}_lo": interval.lo, f"{short}_hi": interval.hi}
        rows.append(row | {"reason": reasons(values)})
    return rows


def reasons(values: Mapping[str, Interval]) -> str | None:
    """Return why metrics that have a value have no interval; None if there is no such metric."""
    missing: dict[str, list[str]] = {}
    for name, interval in values.items():
        if interval.reason and interval.value is not None:
            missing.setdefault(interval.reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in missing.items()) or None
