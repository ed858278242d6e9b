"""Metrics per finding with confidence intervals, and the tables of artifacts/evaluate.

A finding is scored if some test images show it and others do not.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.intervals import Interval, intervals
from medtune.evaluation.net_benefit import DecisionCurve, decision_curve
from medtune.evaluation.reliability import Table, reliability_bins
from medtune.evaluation.tables import write_csv
from medtune.tasks.classification.class_metrics import reasons
from medtune.tasks.classification.ranking import roc_curve
from medtune.tasks.classification.tables import Curves, remove_collinear
from medtune.tasks.multilabel.folds import FindingPredictions
from medtune.tasks.multilabel.metrics import FINDING_METRICS, finding_metrics
from medtune.tasks.multilabel.statistics import FindingStats


def per_finding(stats: FindingStats, names: Sequence[str], confidence: float) -> list[dict[str, Any]]:
    """Compute the metrics of each finding with confidence intervals.

    Args:
        stats: statistics of the test images.
        names: names of the findings.
        confidence: confidence level, 0..1.

    Returns:
        One row per finding, `{class, positives, images, patients, prevalence, <metric>, <metric>_lo, <metric>_hi, ...,
        reason}`. `patients` is the number of patients with an image of the finding. Undefined values are None, and
        `reason` explains them.
    """
    metrics = [finding_metrics(k) for k in range(len(names))]
    by_name = intervals([metric for row in metrics for metric in row.values()], stats, confidence)
    patients = (stats.actual > 0).sum(0)
    rows = []
    for k, name in enumerate(names):
        positives, images = int(stats.actual[:, k].sum()), int(stats.images.sum())
        row: dict[str, Any] = {
            "class": name,
            "positives": positives,
            "images": images,
            "patients": int(patients[k]),
            "prevalence": positives / images,
        }
        values = {short: by_name[metrics[k][short].name] for short in FINDING_METRICS}
        for short, interval in values.items():
            row |= {short: interval.value, f"{short}_lo": interval.lo, f"{short}_hi": interval.hi}
        rows.append(row | {"reason": _reason(positives, images, values)})
    return rows


def _reason(positives: int, images: int, values: Mapping[str, Interval]) -> str | None:
    if not positives:
        return "no test image shows it"
    return "every test image shows it" if positives == images else reasons(values)


def baseline(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Compute the macro metrics of a model whose probability for every image is the prevalence.

    Args:
        rows: rows of `per_finding`.

    Returns:
        Values by metric name, None without scored findings.
    """
    prevalences = [row["prevalence"] for row in rows if 0 < row["positives"] < row["images"]]
    if not prevalences:
        return {"auroc": None, "average_precision": None, "balanced_accuracy": None}
    return {"auroc": 0.5, "average_precision": float(np.mean(prevalences)), "balanced_accuracy": 0.5}


def roc_curves(names: Sequence[str], predictions: FindingPredictions) -> Curves:
    """Compute the ROC curve of each scored finding, without points on the line between their neighbors."""
    curves = {}
    for k, name in enumerate(names):
        positive = predictions.labels[:, k]
        if positive.any() and not positive.all():
            curves[name] = remove_collinear(*roc_curve(positive, predictions.probabilities[:, k]))
    return curves


def decision_curves(names: Sequence[str], predictions: FindingPredictions) -> dict[str, DecisionCurve]:
    """Compute the decision curve of each scored finding."""
    return {
        name: decision_curve(predictions.labels[:, k], predictions.probabilities[:, k])
        for k, name in enumerate(names)
        if predictions.labels[:, k].any() and not predictions.labels[:, k].all()
    }


def reliability(labels: npt.NDArray[Any], probabilities: npt.NDArray[Any], bins: int) -> Table:
    """Compute the mean probability and the fraction of positives per probability bin (lower, upper].

    Args:
        labels: (n, findings) 1 if the image shows the finding.
        probabilities: (n, findings) probabilities.
        bins: number of bins of equal width.

    Returns:
        `{lower, upper, images, confidence, accuracy}` for each bin with values. `images` is the number of pairs of an
        image and a finding. `accuracy` is the fraction of pairs in which the image shows the finding.
    """
    return reliability_bins(probabilities.ravel(), labels.ravel(), bins)


def write_reliability(path: Path, predictions: FindingPredictions, bins: int, before: bool = True) -> None:
    """Write `confidence,accuracy,images,lower,upper,calibration`, where calibration is `before` or `after`.

    Args:
        path: file to write.
        predictions: predictions of the test images.
        bins: number of probability bins.
        before: True to include the probabilities before calibration.
    """
    columns = ["confidence", "accuracy", "images", "lower", "upper"]
    rows = [
        [*(row[name] for name in columns), calibration]
        for calibration, probabilities in (("before", predictions.uncalibrated), ("after", predictions.probabilities))
        if calibration == "after" or before
        for row in reliability(predictions.labels, probabilities, bins)
    ]
    write_csv(path, [*columns, "calibration"], rows)


def write_confusion(path: Path, names: Sequence[str], predictions: FindingPredictions) -> None:
    """Write `actual,predicted` for DVC's confusion template, with values such as `mass` and `no mass`.

    There is one line per image and finding. True negatives are omitted, because they are by far the most frequent.

    Args:
        path: file to write.
        names: names of the findings.
        predictions: predictions of the test images.
    """
    rows = []
    for k, name in enumerate(names):
        words = np.array([f"no {name}", name], object)
        label, decided = predictions.labels[:, k], predictions.decided[:, k]
        positive = label | decided
        rows += list(zip(words[label[positive].astype(int)], words[decided[positive].astype(int)], strict=True))
    write_csv(path, ["actual", "predicted"], rows)
