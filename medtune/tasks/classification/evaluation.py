"""Evaluation of a classifier: temperature and decision per fold, statistics and report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import EvaluateParams, GateParams
from medtune.evaluation.gate_decision import Limit
from medtune.evaluation.reliability import write_calibration
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.slides import slide_probabilities
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification import baseline
from medtune.tasks.classification.analyses import ANALYSES, Analyses
from medtune.tasks.classification.class_metrics import per_class
from medtune.tasks.classification.folds import (
    ClassifierFold,
    ClassifierPredictions,
    decision_of,
    evaluate_folds,
    fit_rules,
    is_ordinal,
    pool,
)
from medtune.tasks.classification.metrics.confidence_gap import METRIC as CONFIDENCE_GAP
from medtune.tasks.classification.predictions import read_predictions, write_predictions
from medtune.tasks.classification.reliability import reliability
from medtune.tasks.classification.warnings import evaluation_warnings

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

__all__ = [
    "CLASS_AVERAGES",
    "FACTS",
    "baseline",
    "choose_decision",
    "evaluate_folds",
    "facts",
    "fit_rules",
    "from_bundle",
    "limits",
    "pool",
    "read_predictions",
    "write",
    "write_predictions",
]  # fmt: skip
FACTS = ("classes", "positive", "per_class", *ANALYSES)
CLASS_AVERAGES = (
    "balanced_accuracy", "macro_f1", "macro_precision", "macro_recall", "paper_f1", "auroc", "average_precision",
)  # fmt: skip


def choose_decision(
    folds: Sequence[ClassifierFold], prepared: "PreparedDataset", options: EvaluateParams
) -> dict[str, Any]:
    """Choose the decision rule of the exported model on the validation images of all folds."""
    return decision_of(pool([fold.val for fold in folds]), prepared.classes, options)


def from_bundle(
    prepared: "PreparedDataset", rows: np.ndarray, output: np.ndarray, document: Mapping[str, Any]
) -> ClassifierPredictions:
    """Return the predictions of a bundle with the bundle's decision rule.

    Args:
        prepared: prepared dataset.
        rows: (n,) row indices of images or of tiles.
        output: (n, classes) calibrated probabilities. For tiles, (n, M, ...) outputs of the M networks of the bundle.
        document: content of bundle.json.

    Returns:
        Predictions of the images, or of the slides for rows of tiles.
    """
    if prepared.slide_of_tile:
        prepared, rows, output = slide_probabilities(prepared, rows, output, document)
    probabilities = output.astype(np.float64)
    predictions = decide(output, document["decision"], document["classes"])
    return ClassifierPredictions(
        rows,
        prepared.labels[rows],
        prepared.patient_ids[rows],
        probabilities,
        probabilities,
        predictions,
        is_ordinal(prepared.info),
    )


def facts(result: EvaluationResult, options: EvaluateParams) -> dict[str, Any]:
    """Return the classes, the positive class, per-class metrics, analyses and warnings."""
    pooled, classes = result.pooled, result.prepared.classes
    return {
        "classes": list(classes),
        "positive": result.prepared.positive,
        "per_class": per_class(pooled.stats(options), classes, options.confidence),
        "warnings": evaluation_warnings(result.prepared, result.folds, pooled),
        **Analyses.compute(result, options).facts(result, options),
    }


def write(
    folder: Path,
    result: EvaluationResult,
    options: EvaluateParams,
    facts: Mapping[str, Any],
    history: Sequence[dict[str, Any]],
) -> list[Path]:
    """Write calibration.json, predictions.csv, plots/, images/ and report.html, and return the images."""
    from medtune.tasks.classification import outputs
    from medtune.tasks.classification.report import write_report

    bins, pooled = options.reliability_bins, result.pooled
    write_calibration(folder / "calibration.json", result, reliability, bins)
    write_predictions(folder / "predictions.csv", result.prepared, pooled)
    outputs.write_plots(folder / "plots", result, history, bins)
    images = outputs.draw_plots(folder / "images", result, history, bins)
    analyses = Analyses.compute(result, options)
    images += analyses.write(folder, result)
    return write_report(folder, result, facts, images, analyses.section(result, facts))


def limits(gate: GateParams) -> list[Limit]:
    """Return the limit of `gate.max_confidence_gap` on the difference between confidence and accuracy."""
    return [Limit(CONFIDENCE_GAP, gate.max_confidence_gap, "gate.max_confidence_gap")]
