"""report.html: everything about one evaluation on one page that needs no other file."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from medtune.evaluation.bootstrap import Interval
from medtune.runtime.artifact import write_text
from medtune.tasks.classification.metrics import EACH_EPOCH, METRICS
from medtune.tasks.classification.template import PAGE


def write_report(path: Path, facts: dict[str, Any], test: dict[str, Interval], plots: Sequence[Path]) -> None:
    """Writes the page.

    Args:
        path: where to.
        facts: every other name in `medtune.tasks.classification.template.PAGE`.
        test: metrics of the pooled test images.
        plots: PNG files, put into the page.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"figure": format_value, "rule": describe_rule}
    embedded = [{"name": p.stem, "data": base64.b64encode(p.read_bytes()).decode()} for p in plots]
    rows = [_row(metric.title, test[metric.name]) for metric in METRICS if metric.name in test]
    write_text(
        path, environment.from_string(PAGE).render(**facts, metrics=rows, pictures=embedded, each_epoch=EACH_EPOCH)
    )


def format_value(value: float | None) -> str:
    """Three decimals, or a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def describe_rule(decision: dict[str, Any]) -> str:
    """A decision rule in words."""
    if decision["kind"] == "argmax":
        return "most probable"
    return f"{decision['positive']} from {decision['threshold']:.3f}"


def _row(title: str, interval: Interval) -> dict[str, str]:
    between = "–" if interval.lo is None else f"{format_value(interval.lo)} to {format_value(interval.hi)}"
    note = interval.reason or (f"undefined in {interval.dropped} resamples" if interval.dropped else "")
    return {"title": title, "value": format_value(interval.value), "interval": between, "note": note}
