"""report.html of a multilabel evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.evaluation import report
from medtune.evaluation.result import EvaluationResult
from medtune.tasks.multilabel.metrics import FINDING_METRICS, METRICS

TITLES = ("AUROC", "average precision", "sensitivity", "specificity", "F1")
# Maximum number of rows in the table of findings.
MAX_ROWS = 100


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
    decision: Mapping[str, Any] = facts["decision"] if facts["folds"] else {}
    return report.write_report(
        folder,
        "tasks/multilabel/report.html.j2",
        result,
        METRICS,
        facts,
        images,
        analyses,
        titles=dict(zip(FINDING_METRICS, TITLES, strict=True)),
        max_rows=MAX_ROWS,
        thresholds=decision.get("thresholds", {}),
        threshold_reasons=decision.get("reasons", {}),
    )
