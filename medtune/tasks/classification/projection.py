"""What more patients would buy: the number that halves the interval of each class's recall."""

from typing import Any

import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.evaluation.patient_ratios import ratio_intervals, sum_by_patient
from medtune.evaluation.projection import ASSUMPTION, patients_to_halve, variance_of_ratio
from medtune.evaluation.result import EvaluationResult

# More classes than this have a row in metrics.json but no sentence.
MAX_SENTENCES = 5


def projection_facts(result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """What metrics.json says under `more_patients`.

    Returns:
        `assumption`; `classes`, one entry per class with its patients, recall, interval, `more_patients` that would
        halve the interval and `share_of_variance` of the balanced accuracy that comes from its patients, or `reason`;
        `sentences` of the classes with the widest intervals.
    """
    scored, classes = result.pooled, result.prepared.classes
    rows, variances = [], {}
    for k, name in enumerate(classes):
        own = np.flatnonzero(scored.labels == k)
        row: dict[str, Any] = {"class": name, "patients": len(np.unique(scored.patient_ids[own]))}
        rows.append(row)
        if row["patients"] < 2:
            row["reason"] = "an interval needs more patients"
            continue
        sums = sum_by_patient(scored.correct[own], np.ones(len(own), bool), scored.patient_ids[own])
        found = ratio_intervals({"recall": sums}, options)["recall"]
        row |= {"recall": found.value, "lo": found.lo, "hi": found.hi}
        variances[name] = variance_of_ratio(sums)
        if found.lo is None:
            row["reason"] = found.reason
        else:
            row["more_patients"] = patients_to_halve(row["patients"], options.confidence)
    total = sum(variances.values())
    for row in rows:
        if total > 0 and row["class"] in variances:
            row["share_of_variance"] = variances[row["class"]] / total
    return {"assumption": ASSUMPTION, "classes": rows, "sentences": _sentences(rows, result)}


def _sentences(rows: list[dict[str, Any]], result: EvaluationResult) -> list[str]:
    person = "patients" if result.prepared.info["groups_known"] else "images"
    positive = result.prepared.positive
    widest = sorted((row for row in rows if "more_patients" in row), key=lambda row: row["lo"] - row["hi"])
    names = {result.prepared.classes[0]: "specificity", positive: "sensitivity"} if positive else {}
    return [
        f"About {row['more_patients']} more {person} of class {row['class']} would halve the interval of its "
        f"{names.get(row['class'], 'recall')}, which is {row['lo']:.2f} to {row['hi']:.2f} with {row['patients']}."
        for row in widest[:MAX_SENTENCES]
    ]
