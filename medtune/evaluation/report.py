"""report.html of an evaluation, a single self-contained page."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.data.class_selection import list_names
from medtune.evaluation.baselines import baseline_section
from medtune.evaluation.choices import describe_choices
from medtune.evaluation.cross_validation import cross_validation_section
from medtune.evaluation.external_split import external_section
from medtune.evaluation.metric import Metric
from medtune.evaluation.metric_notes import TEMPERATURE_NOTE, lower_is_better
from medtune.evaluation.result import EvaluationResult, count_samples
from medtune.evaluation.subgroup_plot import draw_subgroups
from medtune.evaluation.subgroup_report import subgroup_section, unit_of
from medtune.evaluation.templates import format_value, render_template
from medtune.runtime.artifact import write_text


def write_report(
    folder: Path,
    template: str,
    result: EvaluationResult,
    metrics: Sequence[Metric],
    facts: Mapping[str, Any],
    images: Sequence[Path],
    analyses: str,
    **variables: Any,
) -> list[Path]:
    """Draw the plot of the subgroups and write report.html.

    Args:
        folder: output folder, which contains the folder `images`.
        template: name of the task's template, which extends `evaluation/report.html.j2`.
        result: the evaluation.
        metrics: metrics of the task.
        facts: facts of the evaluation, which are variables of the template.
        images: PNG files, which are embedded in the page.
        analyses: HTML of the task's analyses.
        variables: other variables of the task's template.

    Returns:
        The images and the plot of the subgroups.
    """
    section = baseline_section(facts.get("baselines", ()), metrics, facts)
    section += external_section(facts.get("external_test"), metrics, facts)
    subgroups = []
    if facts["subgroups"]:
        subgroups.append(folder / "images" / "subgroups.png")
        draw_subgroups(subgroups[0], facts["subgroups"], result.test, metrics, result.title, unit_of(facts))
        section += subgroup_section(facts["subgroups"], metrics, facts, subgroups[0])
    shared = {
        "metrics": list(_metric_rows(result, metrics, facts)),
        "images": [{"name": path.stem, "data": base64.b64encode(path.read_bytes()).decode()} for path in images],
        "each_epoch": [metric for metric in metrics if metric.each_epoch],
        "headline": cross_validation_section(facts.get("cross_validation"), metrics, facts),
        "section": section + analyses,
        "counts": count_samples(facts, facts),
        "directions": lower_is_better(metrics, result.test),
        "temperature_note": TEMPERATURE_NOTE,
        "describe_choices": describe_choices,
        "list_names": list_names,
    }
    write_text(folder / "report.html", render_template(template, **{**facts, **shared, **variables}))
    return [*images, *subgroups]


def _metric_rows(
    result: EvaluationResult, metrics: Sequence[Metric], facts: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for metric in metrics:
        if interval := result.test.get(metric.name):
            mean = facts["fold_means"].get(metric.name)
            notes = [f"mean over folds {format_value(mean['mean'])}"] if mean else []
            note = "; ".join([*notes, interval.reason] if interval.reason else notes)
            yield metric.title + metric.positive_note(facts.get("positive")), interval.as_dict() | {"reason": note}
