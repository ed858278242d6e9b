"""Sections of report.html for the analyses: patients and label errors."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.evaluation.patient_scores import SCORE_TEXTS
from medtune.evaluation.templates import render_template
from medtune.tasks.multilabel.metrics import METRICS


def render_sections(facts: Mapping[str, Any], doubtful: Sequence[Mapping[str, Any]]) -> str:
    """Render the sections.

    Args:
        facts: facts of the evaluation, including `patient_level` and `label_errors`.
        doubtful: rows of `medtune.tasks.multilabel.label_errors.shown_entries`.

    Returns:
        HTML.
    """
    patients = facts["patient_level"]
    return render_template(
        "tasks/multilabel/analyses.html.j2",
        patients=patients,
        metrics=[metric for metric in METRICS if metric.name in patients.get("metrics", {})],
        errors=facts["label_errors"],
        doubtful=doubtful,
        scores=SCORE_TEXTS,
        percent=facts["percent"],
    )
