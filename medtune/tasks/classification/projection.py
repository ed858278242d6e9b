"""Number of further patients that would halve the confidence interval of each class's recall."""

from typing import Any

import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.evaluation.patient_ratios import ratio_intervals, sum_by_patient
from medtune.evaluation.projection import ASSUMPTION, patients_to_halve, variance_of_ratio
from medtune.evaluation.result import EvaluationResult

# Maximum number of classes with a sentence. Every class has a row in metrics.json.
MAX_SENTENCES = 5


def projection_facts(result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """Return the values of metrics.json for the key `more_patients`.

    Args:
        result: the evaluation.
        options: section `evaluate` of the params.

    Returns:
        `assumption`, `classes` and `sentences`. `classes` has one row per class with `patients`, `recall`, `lo` and
        `hi`. A row also has `more_patients`, the number that would halve the interval, or `reason`.
        `share_of_variance` is the fraction of the variance of the balanced accuracy that the class contributes.
        `sentences` describe the classes with the widest intervals.
    """
    pooled, classes = result.pooled, result.prepared.classes
    rows, variances = [], {}
    for k, name in enumerate(classes):
        positions = np.flatnonzero(pooled.labels == k)
        patients = pooled.patient_ids[positions]
        row: dict[str, Any] = {"class": name, "patients": len(np.unique(patients))}
        rows.append(row)
        if row["patients"] < 2:
            row["reason"] = "a confidence interval needs more patients"
            continue
        sums = sum_by_patient(pooled.correct[positions], np.ones(len(positions), bool), patients)
        interval = ratio_intervals({"recall": sums}, options)["recall"]
        row |= {"recall": interval.value, "lo": interval.lo, "hi": interval.hi}
        variances[name] = variance_of_ratio(sums)
        if interval.lo is None:
            row["reason"] = interval.reason
        else:
            row["more_patients"] = patients_to_halve(row["patients"], options.confidence)
    total = sum(variances.values())
    for row in rows:
        if total > 0 and row["class"] in variances:
            row["share_of_variance"] = variances[row["class"]] / total
    return {"assumption": ASSUMPTION, "classes": rows, "sentences": _sentences(rows, result)}


def _sentences(rows: list[dict[str, Any]], result: EvaluationResult) -> list[str]:
    """Return one sentence for each of the classes with the widest intervals."""
    unit = "patients" if result.prepared.info["patients_known"] else "images"
    positive = result.prepared.positive
    widest = sorted((row for row in rows if "more_patients" in row), key=lambda row: row["lo"] - row["hi"])
    names = {result.prepared.classes[0]: "specificity", positive: "sensitivity"} if positive else {}
    return [
        f"About {row['more_patients']} more {unit} of class {row['class']} would halve the confidence interval of its "
        f"{names.get(row['class'], 'recall')}. With {row['patients']} {unit}, the interval is {row['lo']:.2f} to "
        f"{row['hi']:.2f}."
        for row in widest[:MAX_SENTENCES]
    ]
