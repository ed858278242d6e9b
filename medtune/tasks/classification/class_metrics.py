"""Recall, precision and F1 of each class, with confidence intervals over patients."""

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
    """(R,) share of the images of the class that are predicted as it."""
    return stats.correct[:, label] / stats.actual[:, label]


def precision(stats: WeightedStats, label: int) -> Floats:
    """(R,) share of the images predicted as the class that are of it; NaN where nothing is predicted as it."""
    return stats.correct[:, label] / stats.predicted[:, label]


def f1(stats: WeightedStats, label: int) -> Floats:
    """(R,) 2 TP / (2 TP + FP + FN); NaN where the images neither are of the class nor are predicted as it."""
    return 2 * stats.correct[:, label] / (stats.actual[:, label] + stats.predicted[:, label])


FORMULAS = {"recall": recall, "precision": precision, "f1": f1}


def class_metrics(label: int) -> dict[str, Metric]:
    """Metrics of one class by their short name; `Metric.name` is unique among all classes."""

    def predicted(stats: ClassificationStats) -> int:
        """Patients with images predicted as the class, or those of the class or of the others if these are too few."""
        said = int(np.bincount(stats.predicted.indices, minlength=stats.n_classes)[label])
        images = np.asarray(stats.actual[:, [label]].todense()).ravel()
        fewest = min(int((images > 0).sum()), int((images < stats.sizes).sum()))
        return said if fewest >= MIN_PATIENTS_OF_CLASS else min(said, fewest)

    rests_on = {"recall": patients_of(label), "precision": predicted, "f1": patients_of(label)}
    return {
        name: Metric(
            f"{name}_{label}",
            name,
            "max",
            partial(formula, label=label),
            rests_on=rests_on[name],
            min_patients=MIN_PATIENTS_OF_CLASS + (name == "f1"),
            size_power=0,
        )
        for name, formula in FORMULAS.items()
    }


def per_class(stats: ClassificationStats, classes: Sequence[str], confidence: float) -> list[dict[str, Any]]:
    """Compute one row per class.

    Returns:
        `{class, support, predicted, patients, <metric>, <metric>_lo, <metric>_hi, ..., reason}` with the metrics
        recall, precision and f1; None where undefined. `reason` says why an interval is missing, or is None.
    """
    by_class = [class_metrics(label) for label in range(len(classes))]
    found = intervals([metric for metrics in by_class for metric in metrics.values()], stats, confidence)
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
        values = {short: found[metric.name] for short, metric in by_class[label].items()}
        for short, one in values.items():
            row |= {short: one.value, f"{short}_lo": one.lo, f"{short}_hi": one.hi}
        rows.append(row | {"reason": reasons(values)})
    return rows


def reasons(values: Mapping[str, Interval]) -> str | None:
    """Return why intervals are missing, by metric; None where none is."""
    missing: dict[str, list[str]] = {}
    for name, one in values.items():
        if one.reason and one.value is not None:
            missing.setdefault(one.reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in missing.items()) or None
