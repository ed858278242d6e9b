"""Model card of a bundle (MODEL_CARD.md), rendered from the content of bundle.json."""

from dataclasses import replace
from typing import Any

import numpy as np

from medtune.data.class_selection import most_frequent
from medtune.data.wording import wording
from medtune.evaluation.choices import describe_choices
from medtune.evaluation.metric_notes import lower_is_better
from medtune.evaluation.subgroup_tables import markdown_lines
from medtune.evaluation.templates import render_template
from medtune.tasks import base

NOTICE = "Research use only: not a medical device, not for diagnosis or treatment."


def render_card(document: dict[str, Any]) -> str:
    """Render the model card.

    Args:
        document: content of bundle.json.

    Returns:
        Markdown.

    Raises:
        jinja2.UndefinedError: an entry of bundle.json is missing. The message names the entry.
    """
    task, metrics = base.export(document["task"]["kind"]), base.metrics(document["task"]["kind"])
    named = [replace(metric, title=metric.name.replace("_", " ")) for metric in metrics]
    return render_template(
        "export/model_card.md.j2",
        **document,
        percent=_percent,
        number=_number,
        agrees=task.agrees,
        describe_choices=describe_choices,
        text=task.card(document),
        shown_counts=_most_frequent(document["data"]["counts"]),
        subgroups=_subgroups(document),
        headline=[metric.name for metric in metrics if metric.headline],
        directions=lower_is_better(named, document["metrics"]["test"]),
        words=wording(document),
    )


def _subgroups(document: dict[str, Any]) -> str:
    metrics = base.metrics(document["task"]["kind"])
    return "\n".join(markdown_lines(document["metrics"].get("subgroups", []), metrics))


def _most_frequent(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return the counts of the most frequent classes."""
    names = list(counts)
    return {names[k]: counts[names[k]] for k in most_frequent(np.array([counts[name]["all"] for name in names]))}


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %".replace(".0 %", " %")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
