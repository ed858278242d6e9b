"""report.html of a classifier's evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtune.data.class_selection import MAX_CLASSES, most_frequent
from medtune.evaluation import report
from medtune.evaluation.result import EvaluationResult
from medtune.tasks.classification.metrics import METRICS


def write_report(
    folder: Path, result: EvaluationResult, facts: Mapping[str, Any], images: Sequence[Path], analyses: str
) -> list[Path]:
    """Write the page.

    Args:
        folder: output folder.
        result: the evaluation.
        facts: facts of the evaluation.
        images: PNG files, which are embedded in the page.
        analyses: HTML of the analyses.

    Returns:
        The images and the plot of the subgroups.
    """
    return report.write_report(
        folder,
        "tasks/classification/report.html.j2",
        result,
        METRICS,
        facts,
        images,
        analyses,
        per_class=most_errors(facts["per_class"]),
        describe_rule=describe_rule,
    )


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


def describe_rule(decision: dict[str, Any]) -> str:
    """Describe a decision rule in words."""
    if decision["kind"] == "argmax":
        return "most probable class"
    return f"{decision['positive']} if its probability is at least {decision['threshold']:.3f}"
