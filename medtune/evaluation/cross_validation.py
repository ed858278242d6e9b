"""Cross-validated metrics for an exported model whose test metrics cover a single fold.

The exported model is the ensemble of all folds or one network that was trained on all images. Its report therefore also
needs the metrics of all folds.
"""

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
    """Compute metrics of the pooled test images of all folds, and per fold.

    Args:
        folds: results of all folds. Each network predicts images of patients it has not seen.
        pooled: pooled test predictions of all folds.
        metrics: metrics of the task.
        options: section `evaluate` of the params.

    Returns:
        Value of `cross_validation` in metrics.json.
    """
    by_name = intervals(metrics, pooled.stats(options), options.confidence)
    return {
        "n_images": len(pooled.rows),
        "n_patients": len(np.unique(pooled.patient_ids)),
        "metrics": {name: interval.as_dict() for name, interval in by_name.items()},
        "fold_means": fold_means([fold.test for fold in folds], metrics, options),
        "folds": [
            {"fold": fold.fold, "kept": fold.selected_stage, "test": values(metrics, fold.test.stats(options))}
            for fold in folds
        ],
    }


def headlines(metrics: Sequence[Metric], test: Mapping[str, Interval], metrics_json: Mapping[str, Any]) -> list[str]:
    """Return lines with the headline metrics (`Metric.headline`): those of all folds, then of the requested fold.

    Args:
        metrics: metrics of the task.
        test: test metrics of the requested fold.
        metrics_json: content of metrics.json.

    Returns:
        One line, or two if `metrics_json` has metrics of all folds.
    """
    requested_fold = summary_line(metrics, test, metrics_json)
    if not metrics_json.get("cross_validation"):
        return [requested_fold]
    all_folds = metrics_line(metrics_json["cross_validation"], metrics, metrics_json)
    fold = metrics_json["folds"][0]["fold"]
    return [f"cross-validation, all folds: {all_folds}", f"test fold {fold}: {requested_fold}"]


def cross_validation_section(
    cross_validation: Mapping[str, Any] | None, metrics: Sequence[Metric], metrics_json: Mapping[str, Any]
) -> str:
    """Render the section of report.html about all folds.

    Args:
        cross_validation: result of `cross_validate`; None if the test metrics already cover all folds.
        metrics: metrics of the task.
        metrics_json: content of metrics.json.

    Returns:
        HTML of the section, or an empty string.
    """
    if not cross_validation:
        return ""
    n = len(cross_validation["folds"])
    of_all = f"was trained on all {metrics_json.get('unit', 'images')}"
    exported = "averages them" if metrics_json["final"]["kind"] == "ensemble" else of_all
    return metrics_section(
        "Cross-validation",
        f"{n} networks, each tested on patients it has not seen. The exported model {exported}",
        cross_validation,
        metrics,
        metrics_json,
    )
