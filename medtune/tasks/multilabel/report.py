"""report.html of a multilabel evaluation, a single self-contained page."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from medtune.data.class_selection import list_names
from medtune.evaluation.choices import describe_choices
from medtune.evaluation.intervals import Interval
from medtune.runtime.artifact import write_text
from medtune.tasks.classification.report import format_interval, format_value, metric_row
from medtune.tasks.multilabel.metrics import EACH_EPOCH, FINDING_METRICS, METRICS
from medtune.tasks.multilabel.template import PAGE

TITLES = ("AUROC", "average precision", "sensitivity", "specificity", "F1")
# Maximum number of rows in the table of findings.
MAX_ROWS = 100


def write_report(
    path: Path,
    facts: Mapping[str, Any],
    test: Mapping[str, Interval],
    plots: Sequence[Path],
    section: str = "",
    headline: str = "",
) -> None:
    """Write the page.

    Args:
        path: file to write.
        facts: the other variables of `medtune.tasks.multilabel.template.PAGE`.
        test: metrics of the pooled test images.
        plots: PNG files, which are embedded in the page.
        section: HTML below the table of findings, such as the subgroups with their plot. May be empty.
        headline: HTML of `medtune.evaluation.cross_validation` above the metrics of one fold. May be empty.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"number": format_value, "names": list_names, "choices": describe_choices}
    images = [
        {"name": p.stem, "data": base64.b64encode(p.read_bytes()).decode()} for p in plots if p.stem != "subgroups"
    ]
    decision: Mapping[str, Any] = facts["decision"] if facts["folds"] else {}
    page = environment.from_string(PAGE).render(
        **facts,
        metrics=[
            metric_row(metric.title, test[metric.name], facts["fold_means"].get(metric.name))
            for metric in METRICS
            if metric.name in test
        ],
        images=images,
        section=markupsafe.Markup(section),
        headline=markupsafe.Markup(headline),
        each_epoch=EACH_EPOCH,
        titles=TITLES,
        rows=[_finding(row) for row in facts["per_class"][:MAX_ROWS]],
        thresholds=decision.get("thresholds", {}),
        threshold_reasons=decision.get("reasons", {}),
    )
    write_text(path, page)


def _finding(row: Mapping[str, Any]) -> dict[str, Any]:
    values = [
        (format_value(row[name]), format_interval(row[f"{name}_lo"], row[f"{name}_hi"])) for name in FINDING_METRICS
    ]
    return {**row, "values": values}
