"""Plots of a multilabel evaluation as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtune.data.class_selection import MAX_CLASSES, shorten
from medtune.data.findings import NO_FINDING, join_findings
from medtune.evaluation.plot_file import COLORS, GRAY, plot_file
from medtune.evaluation.result import EvaluationResult
from medtune.evaluation.tables import write_history
from medtune.tasks.classification.plots import draw_history, draw_samples
from medtune.tasks.classification.tables import Curves, write_roc
from medtune.tasks.multilabel import tables
from medtune.tasks.multilabel.folds import FindingPredictions
from medtune.tasks.multilabel.metrics import EACH_EPOCH

MAX_SAMPLES = 12
# Maximum number of distinguishable curves in a legend.
MAX_CURVES = 16


def write_tables(folder: Path, result: EvaluationResult, history: Sequence[dict[str, Any]], bins: int) -> None:
    """Write confusion.csv, roc.csv, reliability.csv and history.csv, which DVC draws.

    Args:
        folder: output folder.
        result: the evaluation.
        history: learning curves, from `medtune.evaluation.tables.join_history`.
        bins: number of probability bins.
    """
    names = result.prepared.classes
    tables.write_confusion(folder / "confusion.csv", names, result.pooled)
    write_roc(folder / "roc.csv", tables.roc_curves(names, result.pooled))
    tables.write_reliability(folder / "reliability.csv", result.pooled, bins, bool(result.folds))
    if history:
        write_history(folder / "history.csv", history)


def draw(
    folder: Path,
    result: EvaluationResult,
    rows: Sequence[dict[str, Any]],
    history: Sequence[dict[str, Any]],
    bins: int,
) -> list[Path]:
    """Draw the images of the report.

    Args:
        folder: output folder, which is created.
        result: the evaluation.
        rows: rows of `medtune.tasks.multilabel.tables.per_finding`.
        history: learning curves.
        bins: number of probability bins.

    Returns:
        Paths of the images, in the order of the report.
    """
    folder.mkdir(parents=True)
    pooled, title = result.pooled, result.title
    names = ["roc", "findings", "reliability", *(["history"] if history else []), "errors", "correct"]
    paths = {name: folder / f"{name}.png" for name in names}
    draw_roc(paths["roc"], tables.roc_curves(result.prepared.classes, pooled), title)
    draw_findings(paths["findings"], rows, title)
    draw_reliability(paths["reliability"], pooled, bins, title, bool(result.folds))
    folds = len(result.folds)
    if history:
        draw_history(paths["history"], history, f"{folds} fold{'s' * (folds > 1)}", EACH_EPOCH)
    for name, correct in (("errors", False), ("correct", True)):
        positions = sort_by_confidence(pooled, correct)[:MAX_SAMPLES].tolist()
        images = [result.prepared.images[pooled.rows[position]] for position in positions]
        captions = [_caption(result, position) for position in positions]
        heading = "Most confident correct predictions" if correct else "Most confident errors"
        draw_samples(paths[name], images, captions, f"{heading} ({title})")
    return list(paths.values())


def draw_roc(path: Path, curves: Curves, title: str) -> None:
    """Draw one ROC curve per finding with its AUROC.

    Args:
        path: PNG file to write.
        curves: false and true positive rates by finding. With more than `MAX_CURVES` findings, those with the lowest
            AUROC are drawn.
        title: second line of the title.
    """
    areas = {name: float(np.trapezoid(tpr, fpr)) for name, (fpr, tpr) in curves.items()}
    shown = sorted(areas, key=lambda name: areas[name])[:MAX_CURVES]
    note = f": the {len(shown)} lowest AUROC of {len(curves)} findings" if len(shown) < len(curves) else ""
    with plot_file(path, (6.4, 4.4)) as axes:
        axes.plot([0, 1], [0, 1], color=GRAY, lw=0.8, ls=":")
        for index, name in enumerate(name for name in curves if name in shown):
            style = ("-", "--")[index // len(COLORS) % 2]
            axes.plot(*curves[name], lw=1.4, ls=style, label=f"{shorten(name)}, AUROC {areas[name]:.3f}")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_aspect("equal")
        axes.set_title(f"ROC per finding{note}\n{title}")
        if curves:
            axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
        else:
            axes.text(
                0.5, 0.5, "undefined: no finding has both positive\nand negative images", ha="center", va="center"
            )


def draw_findings(path: Path, rows: Sequence[dict[str, Any]], title: str) -> None:
    """Draw the AUROC of each finding with its confidence interval.

    Args:
        path: PNG file to write.
        rows: rows of `medtune.tasks.multilabel.tables.per_finding`. With more than `MAX_CLASSES` findings, those with
            the lowest AUROC are drawn.
        title: second line of the title.
    """
    defined = sorted((row for row in rows if row["auroc"] is not None), key=lambda row: row["auroc"])
    note = f": the {MAX_CLASSES} lowest AUROC of {len(defined)} findings" if len(defined) > MAX_CLASSES else ""
    shown = defined[:MAX_CLASSES]
    with plot_file(path, (6.4, 1.2 + 0.28 * max(len(shown), 2))) as axes:
        axes.axvline(0.5, color=GRAY, lw=0.8, ls=":")
        for position, row in enumerate(shown):
            if row["auroc_lo"] is not None:
                axes.plot([row["auroc_lo"], row["auroc_hi"]], [position, position], color=COLORS[0], lw=1.4)
            axes.plot([row["auroc"]], [position], "o", color=COLORS[0])
        labels = [f"{shorten(row['class'])} ({row['positives']})" for row in shown]
        axes.set_yticks(range(len(shown)), labels)
        axes.set(xlabel="AUROC", xlim=(0, 1.01))
        axes.set_title(f"AUROC per finding (number of positive images){note}\n{title}")


def draw_reliability(path: Path, predictions: FindingPredictions, bins: int, title: str, before: bool = True) -> None:
    """Draw the reliability diagram of all pairs of an image and a finding. Larger markers stand for more pairs per bin.

    Args:
        path: PNG file to write.
        predictions: predictions of the test images.
        bins: number of probability bins.
        title: second line of the title.
        before: True to also draw the diagram before calibration.
    """
    with plot_file(path, (4.6, 4.4)) as axes:
        axes.plot([0, 1], [0, 1], color=GRAY, lw=0.8, ls=":")
        lines = [("after calibration", predictions.probabilities, "s", COLORS[0])]
        if before:
            lines.insert(0, ("before calibration", predictions.uncalibrated, "o", COLORS[1]))
        for name, probabilities, marker, color in lines:
            rows = tables.reliability(predictions.labels, probabilities, bins)
            x, y = [row["confidence"] for row in rows], [row["accuracy"] for row in rows]
            area = [12 + 160 * row["images"] / predictions.labels.size for row in rows]
            axes.plot(x, y, lw=1.0, color=color)
            axes.scatter(x, y, s=area, marker=marker, color=color, label=name, zorder=3, alpha=0.85, clip_on=False)
        axes.set(xlabel="probability", ylabel="fraction of images that show the finding", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.set_title(f"Reliability, all findings\n{title}")
        axes.legend(loc="upper left", frameon=False, markerscale=0.6)


def sort_by_confidence(predictions: FindingPredictions, correct: bool) -> np.ndarray:
    """Return the positions of correct or of incorrect images, most confident first.

    Args:
        predictions: predictions of the test images.
        correct: True for images with at least one finding and no error, False for images with at least one error.

    Returns:
        (m,) positions in `predictions`.
    """
    wrong = predictions.labels != predictions.decided
    if correct:
        positions = np.flatnonzero(~wrong.any(1) & predictions.labels.any(1))
        confidence = np.where(predictions.labels[positions], predictions.probabilities[positions], 1.0).min(
            1, initial=1.0
        )
    else:
        positions = np.flatnonzero(wrong.any(1))
        error = np.abs(predictions.labels[positions] - predictions.probabilities[positions])
        confidence = np.where(wrong[positions], error, 0.0).max(1, initial=0.0)
    return positions[np.argsort(-confidence, kind="stable")]


def _caption(result: EvaluationResult, position: int) -> str:
    names = np.array(result.prepared.classes, object)
    none = result.prepared.info.get("no_finding", NO_FINDING)
    label, decided = result.pooled.labels[position], result.pooled.decided[position]
    text = shorten(join_findings(names[label].tolist(), none))
    if (label == decided).all():
        return text
    return f"{text}\npredicted: {shorten(join_findings(names[decided].tolist(), none))}"
