"""Metrics of all folds where the test metrics are those of one: the exported model contains the networks of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.evaluation.external_split import metrics_line, metrics_section
from medtune.evaluation.facts import fold_means
from medtune.evaluation.intervals import Interval, intervals
from medtune.evaluation.metric import Metric, values
from medtune.evaluation.result import FoldResult, summary_line

PREDICTIONS_FILE = "predictions_cross_validation.csv"


def cross_validate(
    folds: Sequence[FoldResult], pooled: Any, metrics: Sequence[Metric], options: EvaluateParams
) -> dict[str, Any]:
    """Metrics of the pooled test images of all folds, and per fold, as metrics.json has them.

    Args:
        folds: every fold; each network predicts images of patients that it has not seen.
        pooled: their test predictions.
        metrics: of the task.
        options: section evaluate.
    """
    found = intervals(metrics, pooled.stats(options), options.confidence)
    return {
        "n_images": len(pooled.rows),
        "n_groups": len(np.unique(pooled.patient_ids)),
        "metrics": {name: interval.as_dict() for name, interval in found.items()},
        "fold_means": fold_means([fold.test for fold in folds], metrics, options),
        "folds": [
            {"fold": fold.fold, "kept": fold.selected_stage, "test": values(metrics, fold.test.stats(options))}
            for fold in folds
        ],
    }


def headlines(metrics: Sequence[Metric], test: Mapping[str, Interval], facts: Mapping[str, Any]) -> list[str]:
    """Headline metrics, one line: of all folds first, since the exported model rests on all, then of a named fold."""
    own = summary_line(metrics, test, facts)
    if not facts.get("cross_validation"):
        return [own]
    whole = metrics_line(facts["cross_validation"], metrics, facts["groups_known"])
    return [f"cross-validation, all folds: {whole}", f"test fold {facts['folds'][0]['fold']}: {own}"]


def cross_validation_section(
    document: Mapping[str, Any] | None, metrics: Sequence[Metric], facts: Mapping[str, Any]
) -> str:
    """Return the section of report.html; empty where the test metrics are those of all folds already."""
    if not document:
        return ""
    n = len(document["folds"])
    exported = "averages them" if facts["final"]["kind"] == "ensemble" else "was trained on all images"
    return metrics_section(
        "Cross-validation",
        f"{n} networks, each tested on patients that it has not seen. The exported model {exported}",
        document,
        metrics,
        facts,
    )
