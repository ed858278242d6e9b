"""Section of report.html about subgroups."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.evaluation.metric import Metric
from medtune.evaluation.subgroup_tables import format_entry, format_gap, largest_gap, reasons
from medtune.evaluation.templates import render_template

MAX_CLASSES = 10


def subgroup_section(
    documents: Sequence[Mapping[str, Any]], metrics: Sequence[Metric], facts: Mapping[str, Any], plot: Path
) -> str:
    """Render the section of report.html about subgroups.

    Args:
        documents: value of `subgroups` in metrics.json.
        metrics: metrics of the task.
        facts: result of `medtune.evaluation.facts.common_facts`.
        plot: PNG file of `medtune.evaluation.subgroup_plot`.

    Returns:
        HTML; an empty string if there are no subgroups.
    """
    if not documents:
        return ""
    defined = {name for document in documents for subgroup in document["subgroups"] for name in subgroup["metrics"]}
    return render_template(
        "evaluation/subgroups.html.j2",
        format_entry=format_entry,
        format_gap=format_gap,
        largest_gap=largest_gap,
        documents=documents,
        metrics=[metric for metric in metrics if metric.name in defined],
        notes={document["column"]: reasons(document) for document in documents},
        classes={document["column"]: _classes(document) for document in documents},
        unit=unit_of(facts),
        images=facts.get("unit", "images"),
        percent=facts["percent"],
        positive=facts.get("positive"),
        plot=base64.b64encode(plot.read_bytes()).decode(),
    )


def unit_of(facts: Mapping[str, Any]) -> str:
    """Return what the jackknife leaves out: patients, or the word for samples (`images`) if patients are unknown."""
    return "patients" if facts["patients_known"] else facts.get("unit", "images")


def _classes(document: Mapping[str, Any]) -> list[str]:
    """Return the classes whose patients the table counts; empty if there are too many for a table."""
    names = list(dict.fromkeys(name for subgroup in document["subgroups"] for name in subgroup["patients_by_class"]))
    return names if len(names) <= MAX_CLASSES else []
