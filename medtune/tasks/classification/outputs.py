"""Plots of artifacts/evaluate: tables for DVC and images for the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.data.class_selection import shorten
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.tables import write_history
from medtune.tasks.classification import plots, tables
from medtune.tasks.classification.statistics import confusion_matrix

MAX_SAMPLES = 12


def write_plots(folder: Path, result: EvaluationResult, history: Sequence[dict[str, Any]], bins: int) -> None:
    """Write confusion.csv, roc.csv, precision_recall.csv, reliability.csv and history.csv, which DVC draws.

    Args:
        folder: output folder.
        result: the evaluation.
        history: learning curves, from `medtune.evaluation.tables.join_history`.
        bins: number of confidence bins.
    """
    classes = result.prepared.classes
    tables.write_confusion(folder / "confusion.csv", classes, result.pooled)
    tables.write_roc(folder / "roc.csv", tables.roc_curves(classes, result.pooled))
    tables.write_precision_recall(
        folder / "precision_recall.csv", tables.precision_recall_curves(classes, result.pooled)
    )
    tables.write_reliability(folder / "reliability.csv", result.pooled, bins, bool(result.folds))
    if history:
        write_history(folder / "history.csv", history)


def draw_plots(folder: Path, result: EvaluationResult, history: Sequence[dict[str, Any]], bins: int) -> list[Path]:
    """Draw the images of the report and return them in the order of the report; arguments as in `write_plots`."""
    folder.mkdir(parents=True)
    pooled, classes, title = result.pooled, result.prepared.classes, result.title
    names = ["confusion", "roc", "precision_recall", "patients", "reliability"]
    names += [*(["history"] if history else []), "errors", "correct"]
    paths = {name: folder / f"{name}.png" for name in names}
    counts = confusion_matrix(pooled.labels, pooled.predictions, len(classes))
    plots.draw_confusion(paths["confusion"], counts, classes, title)
    plots.draw_roc(paths["roc"], tables.roc_curves(classes, pooled), title)
    prevalence = {name: float((pooled.labels == k).mean()) for k, name in enumerate(classes)}
    curves = tables.precision_recall_curves(classes, pooled)
    plots.draw_precision_recall(paths["precision_recall"], curves, prevalence, title)
    before = pooled.uncalibrated if result.folds else None  # a bundle gives calibrated probabilities only
    plots.draw_reliability(paths["reliability"], pooled.labels, before, pooled.probabilities, bins, title)
    plots.draw_patients(paths["patients"], tables.patient_rows(pooled), classes, title)
    if history:
        plots.draw_history(paths["history"], history, f"{len(result.folds)} fold{'s' * (len(result.folds) > 1)}")
    for name, correct in (("errors", False), ("correct", True)):
        positions = tables.sort_by_confidence(pooled, correct)[:MAX_SAMPLES]
        captions = [_caption(result, position) for position in positions]
        images = [result.prepared.images[pooled.rows[position]] for position in positions]
        heading = "Most confident correct predictions" if correct else "Most confident errors"
        plots.draw_samples(paths[name], images, captions, f"{heading} ({title})")
    return list(paths.values())


def _caption(result: EvaluationResult, position: int) -> str:
    pooled, classes = result.pooled, result.prepared.classes
    label, prediction = pooled.labels[position], pooled.predictions[position]
    predicted = "" if label == prediction else f"predicted: {shorten(classes[prediction])}\n"
    return f"{shorten(classes[label])}\n{predicted}p {pooled.probabilities[position, prediction]:.2f}"
