"""report.html: one evaluation on a single self-contained page."""

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
    """Write the page.

    Args:
        path: file to write.
        facts: the other variables of `medtune.tasks.classification.template.PAGE`.
        test: metrics of the pooled test images.
        plots: PNG files, which are embedded in the page.
        section: HTML below the table of classes, such as the subgroups with their plot. May be empty.
        headline: HTML of `medtune.evaluation.cross_validation` above the metrics of one fold. May be empty.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {
        "number": format_value,
        "rule": describe_rule,
        "names": list_names,
        "choices": describe_choices,
    }
    images = [
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
    variables = {
        "metrics": rows,
        "images": images,
        "each_epoch": EACH_EPOCH,
        "section": markupsafe.Markup(section),
        "headline": markupsafe.Markup(headline),
    }
    classes = [
        row | {f"{name}_interval": format_interval(row[f"{name}_lo"], row[f"{name}_hi"]) for name in FORMULAS}
        for row in most_errors(facts["per_class"])
    ]
    write_text(path, environment.from_string(PAGE).render(facts | {"per_class": classes} | variables))


def most_errors(per_class: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Select the classes with the most errors, which are false negatives plus false positives.

    Args:
        per_class: rows of `medtune.tasks.classification.class_metrics.per_class`.

    Returns:
        At most `MAX_CLASSES` rows, in class order.
    """
    correct = [round((row["recall"] or 0) * row["support"]) for row in per_class]
    errors = [row["support"] + row["predicted"] - 2 * n for row, n in zip(per_class, correct, strict=True)]
    return [per_class[k] for k in most_frequent(np.array(errors, np.int64), MAX_CLASSES)]


def format_value(value: float | None) -> str:
    """Format a value with three decimals; None becomes a dash."""
    return "–" if value is None else f"{value:.3f}"


def describe_rule(decision: dict[str, Any]) -> str:
    """Describe a decision rule in words."""
    if decision["kind"] == "argmax":
        return "most probable class"
    return f"{decision['positive']} if its probability is at least {decision['threshold']:.3f}"


def format_interval(lo: float | None, hi: float | None) -> str:
    """Format an interval as `0.712 to 0.846`; a missing interval becomes a dash."""
    return "–" if lo is None or hi is None else f"{format_value(lo)} to {format_value(hi)}"


def metric_row(title: str, interval: Interval, fold_mean: Mapping[str, float] | None) -> dict[str, str]:
    """Build one row of the metrics table.

    Args:
        title: title of the metric.
        interval: value and confidence interval on the test images of all folds.
        fold_mean: entry of `medtune.evaluation.facts.fold_means`; None if there is only one fold.

    Returns:
        `title`, `value`, `interval` and `note` as text.
    """
    mean = f"mean over folds {format_value(fold_mean['mean'])}" if fold_mean else ""
    return {
        "title": title,
        "value": format_value(interval.value),
        "interval": format_interval(interval.lo, interval.hi),
        "note": "; ".join(text for text in (mean, interval.reason) if text),
    }
