"""Sections of report.html for the analyses: patients, prediction sets, decision curve, sample size, label errors."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.evaluation.patient_scores import SCORE_TEXTS
from medtune.evaluation.templates import render_template
from medtune.tasks.classification.metrics import METRICS


def render_sections(facts: Mapping[str, Any], doubtful: Sequence[Mapping[str, Any]]) -> str:
    """Render the sections.

    Args:
        facts: facts of the evaluation, including those of `medtune.tasks.classification.analyses`.
        doubtful: rows of `medtune.tasks.classification.label_errors.thumbnails`.

    Returns:
        HTML.
    """
    patients = facts["patient_level"]
    return render_template(
        "tasks/classification/analyses.html.j2",
        patients=patients,
        metrics=[metric for metric in METRICS if metric.name in patients.get("metrics", {})],
        sets=facts["prediction_sets"],
        errors=facts["label_errors"],
        useful=facts["decision_curve"]["useful_thresholds"],
        more=facts["more_patients"],
        doubtful=doubtful,
        scores=SCORE_TEXTS,
        positive=facts["positive"],
        classes=facts["classes"],
        folds=facts["folds"],
        percent=facts["percent"],
        unit=facts.get("unit", "images"),
        person="patient" if facts["patients_known"] else "image",
    )
