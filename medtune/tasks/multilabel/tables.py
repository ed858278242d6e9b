"""Metrics of each finding with their intervals, and the tables of artifacts/evaluate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.intervals import Interval, intervals
from medtune.evaluation.net_benefit import DecisionCurve, decision_curve
from medtune.evaluation.tables import write_csv
from medtune.tasks.classification.class_metrics import reasons
from medtune.tasks.classification.ranking import roc_curve
from medtune.tasks.classification.tables import Curves
from medtune.tasks.multilabel.folds import FindingPredictions
from medtune.tasks.multilabel.metrics import OF_A_FINDING, of_finding
from medtune.tasks.multilabel.statistics import FindingStats


def per_finding(stats: FindingStats, names: Sequence[str], confidence: float) -> list[dict[str, Any]]:
    """One row per finding.

    Args:
        stats: of the test images.
        names: findings.
        confidence: coverage aimed at, 0..1.

    Returns:
        `{class, positives, images, patients, prevalence, <metric>, <metric>_lo, <metric>_hi, ..., reason}`; values are
        None where undefined, and `reason` says why, or is None. `patients` are those with an image that shows it.
    """
    by_name = {k: of_finding(k) for k in range(len(names))}
    flat = [metric for metrics in by_name.values() for metric in metrics.values()]
    found = intervals(flat, stats, confidence)
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
        values = {metric: found[by_name[k][metric].name] for metric in OF_A_FINDING}
        for metric, each in values.items():
            row |= {metric: each.value, f"{metric}_lo": each.lo, f"{metric}_hi": each.hi}
        rows.append(row | {"reason": _reason(positives, images, values)})
    return rows


def _reason(positives: int, images: int, values: Mapping[str, Interval]) -> str | None:
    if not positives:
        return "no test image shows it"
    return "every test image shows it" if positives == images else reasons(values)


def baseline(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Macro metrics of a model that gives every image the same probability, the prevalence.

    Args:
        rows: from `per_finding`.
    """
    shares = [row["prevalence"] for row in rows if 0 < row["positives"] < row["images"]]
    if not shares:
        return {"auroc": None, "average_precision": None, "balanced_accuracy": None}
    return {"auroc": 0.5, "average_precision": float(np.mean(shares)), "balanced_accuracy": 0.5}


def roc_curves(names: Sequence[str], scored: FindingPredictions) -> Curves:
    """False and true positive rates by finding, without points on a straight line; only of findings that are scored."""
    found = {}
    for k, name in enumerate(names):
        positive = scored.labels[:, k]
        if positive.any() and not positive.all():
            false, true = roc_curve(positive, scored.probabilities[:, k])
            bend = np.ones(len(false), bool)
            bend[1:-1] = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
            found[name] = (false[bend], true[bend])
    return found


def decision_curves(names: Sequence[str], scored: FindingPredictions) -> dict[str, DecisionCurve]:
    """Net benefit by finding; only of findings that are scored."""
    return {
        name: decision_curve(scored.labels[:, k], scored.probabilities[:, k])
        for k, name in enumerate(names)
        if scored.labels[:, k].any() and not scored.labels[:, k].all()
    }


def reliability(labels: npt.NDArray, probabilities: npt.NDArray, bins: int) -> list[dict[str, float | int]]:
    """`{lower, upper, images, confidence, accuracy}` of every bin of the probability that has pairs.

    `images` are pairs of an image and a finding, `accuracy` is the share of them in which the image shows the finding.
    """
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities.ravel(), side="left")
    sums = (np.bincount(place, weights=w, minlength=bins) for w in (None, probabilities.ravel(), labels.ravel()))
    count, confidence, shown = sums
    return [
        {
            "lower": k / bins,
            "upper": (k + 1) / bins,
            "images": int(count[k]),
            "confidence": float(confidence[k] / count[k]),
            "accuracy": float(shown[k] / count[k]),
        }
        for k in np.flatnonzero(count).tolist()
    ]


def write_reliability(path: Path, scored: FindingPredictions, bins: int, before: bool = True) -> None:
    """`confidence,accuracy,images,lower,upper,calibration`, after calibration and, if asked, before."""
    columns = ["confidence", "accuracy", "images", "lower", "upper"]
    rows = [
        [*(row[name] for name in columns), when]
        for when, probabilities in (("before", scored.uncalibrated), ("after", scored.probabilities))[not before :]
        for row in reliability(scored.labels, probabilities, bins)
    ]
    write_csv(path, [*columns, "calibration"], rows)


def write_confusion(path: Path, names: Sequence[str], scored: FindingPredictions) -> None:
    """`actual,predicted`, one line per image and finding that it shows or is said to show, as `mass` or `no mass`.

    DVC's confusion template counts them. Pairs that are rightly not said to be there are left out: they are the most.
    """
    rows = []
    for k, name in enumerate(names):
        words = np.array([f"no {name}", name], object)
        label, said = scored.labels[:, k], scored.decided[:, k]
        there = label | said
        rows += list(zip(words[label[there].astype(int)], words[said[there].astype(int)], strict=True))
    write_csv(path, ["actual", "predicted"], rows)
