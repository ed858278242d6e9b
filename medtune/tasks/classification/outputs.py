"""Plots of artifacts/evaluate: tables for DVC, and the images of the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.data.class_selection import shorten
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.tables import write_history
from medtune.tasks.classification import plots, tables
from medtune.tasks.classification.statistics import confusion_matrix

MAX_SAMPLES = 12


def write_plots(folder: Path, result: EvaluationResult, joined: Sequence[dict[str, Any]], bins: int) -> None:
    """The tables that DVC draws: confusion.csv, roc.csv, precision_recall.csv, reliability.csv, history.csv.

    Args:
        folder: where to.
        result: the evaluation.
        joined: learning curves, from `medtune.evaluation.tables.join_history`.
        bins: confidence bins.
    """
    classes = result.prepared.classes
    tables.write_confusion(folder / "confusion.csv", classes, result.pooled)
    tables.write_roc(folder / "roc.csv", tables.roc_curves(classes, result.pooled))
    tables.write_precision_recall(
        folder / "precision_recall.csv", tables.precision_recall_curves(classes, result.pooled)
    )
    tables.write_reliability(folder / "reliability.csv", result.pooled, bins, bool(result.folds))
    if joined:
        write_history(folder / "history.csv", joined)


def draw_plots(folder: Path, result: EvaluationResult, joined: Sequence[dict[str, Any]], bins: int) -> list[Path]:
    """The pictures of the report, in its order. Arguments as in `write_plots`."""
    folder.mkdir(parents=True)
    pooled, classes, title = result.pooled, result.prepared.classes, result.title
    names = ["confusion", "roc", "precision_recall", "patients", "reliability"]
    names += [*(["history"] if joined else []), "mistakes", "hits"]
    place = {name: folder / f"{name}.png" for name in names}
    counts = confusion_matrix(pooled.labels, pooled.predictions, len(classes))
    plots.draw_confusion(place["confusion"], counts, classes, title)
    plots.draw_roc(place["roc"], tables.roc_curves(classes, pooled), title)
    prevalence = {name: float((pooled.labels == k).mean()) for k, name in enumerate(classes)}
    curves = tables.precision_recall_curves(classes, pooled)
    plots.draw_precision_recall(place["precision_recall"], curves, prevalence, title)
    before = pooled.uncalibrated if result.folds else None  # a bundle gives calibrated probabilities only
    plots.draw_reliability(place["reliability"], pooled.labels, before, pooled.probabilities, bins, title)
    plots.draw_patients(place["patients"], tables.patient_rows(pooled), classes, title)
    if joined:
        plots.draw_history(place["history"], joined, f"{len(result.folds)} chain{'s' * (len(result.folds) > 1)}")
    for name, right in (("mistakes", False), ("hits", True)):
        shown = tables.sort_by_confidence(pooled, right)[:MAX_SAMPLES]
        captions = [_caption(result, position) for position in shown]
        images = [result.prepared.images[pooled.rows[position]] for position in shown]
        plots.draw_samples(place[name], images, captions, f"Most confident {name} ({title})")
    return list(place.values())


def _caption(result: EvaluationResult, position: int) -> str:
    pooled, classes = result.pooled, result.prepared.classes
    label, prediction = pooled.labels[position], pooled.predictions[position]
    said = "" if label == prediction else f"said: {shorten(classes[prediction])}\n"
    return f"{shorten(classes[label])}\n{said}p {pooled.probabilities[position, prediction]:.2f}"
