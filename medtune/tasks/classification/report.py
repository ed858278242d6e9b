"""report.html: everything about one evaluation on one page that needs no other file."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np

from medtune.data.class_selection import MAX_CLASSES, list_names, most_frequent
from medtune.evaluation.choices import describe_choices
from medtune.evaluation.intervals import Interval
from medtune.runtime.artifact import write_text
from medtune.tasks.classification.class_metrics import FORMULAS
from medtune.tasks.classification.metrics import EACH_EPOCH, METRICS
from medtune.tasks.classification.template import PAGE


def write_report(
    path: Path,
    facts: dict[str, Any],
    test: dict[str, Interval],
    plots: Sequence[Path],
    section: str = "",
    headline: str = "",
) -> None:
    """Writes the page.

    Args:
        path: where to.
        facts: every other name in `medtune.tasks.classification.template.PAGE`.
        test: metrics of the pooled test images.
        plots: PNG files, put into the page.
        section: HTML of `medtune.evaluation.subgroup_report`, which has its own plot; may be empty.
        headline: HTML of `medtune.evaluation.cross_validation`, above the metrics of one fold; may be empty.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {
        "figure": format_value,
        "rule": describe_rule,
        "names": list_names,
        "choices": describe_choices,
    }
    embedded = [
        {"name": p.stem, "data": base64.b64encode(p.read_bytes()).decode()} for p in plots if p.stem != "subgroups"
    ]
    rows = [
        metric_row(
            metric.title + metric.positive_note(facts["positive"]),
            test[metric.name],
            facts["fold_means"].get(metric.name),
        )
        for metric in METRICS
        if metric.name in test
    ]
    shown = {
        "metrics": rows,
        "pictures": embedded,
        "each_epoch": EACH_EPOCH,
        "section": markupsafe.Markup(section),
        "headline": markupsafe.Markup(headline),
    }
    classes = [
        row | {f"{name}_interval": format_interval(row[f"{name}_lo"], row[f"{name}_hi"]) for name in FORMULAS}
        for row in most_errors(facts["per_class"])
    ]
    page = facts | {"per_class": classes} | shown
    write_text(path, environment.from_string(PAGE).render(**page))


def most_errors(per_class: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the `MAX_CLASSES` classes with the most errors, in class order; errors are images missed or wrongly said.

    Args:
        per_class: rows of `medtune.tasks.classification.class_metrics.per_class`.
    """
    correct = [round((row["recall"] or 0) * row["support"]) for row in per_class]
    errors = [row["support"] + row["predicted"] - 2 * n for row, n in zip(per_class, correct, strict=True)]
    return [per_class[k] for k in most_frequent(np.array(errors, np.int64), MAX_CLASSES)]


def format_value(value: float | None) -> str:
    """Three decimals, or a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def describe_rule(decision: dict[str, Any]) -> str:
    """A decision rule in words."""
    if decision["kind"] == "argmax":
        return "most probable"
    return f"{decision['positive']} from {decision['threshold']:.3f}"


def format_interval(lo: float | None, hi: float | None) -> str:
    """`0.712 to 0.846`, or a dash."""
    return "–" if lo is None or hi is None else f"{format_value(lo)} to {format_value(hi)}"


def metric_row(title: str, interval: Interval, fold_mean: Mapping[str, float] | None) -> dict[str, str]:
    """One row of the table of metrics.

    Args:
        title: of the metric.
        interval: of the test images of all folds.
        fold_mean: entry of `medtune.evaluation.facts.fold_means`; None where there is one fold.
    """
    mean = f"mean over folds {format_value(fold_mean['mean'])}" if fold_mean else ""
    return {
        "title": title,
        "value": format_value(interval.value),
        "interval": format_interval(interval.lo, interval.hi),
        "note": "; ".join(text for text in (mean, interval.reason) if text),
    }
