"""Plots of an evaluation as PNG files, in colors for color-blind readers."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.data.class_selection import MAX_CLASSES, most_frequent, shorten
from medtune.evaluation.metric import Metric
from medtune.evaluation.plot_file import COLORS, GRAY, plot_file
from medtune.tasks.classification.metrics import EACH_EPOCH
from medtune.tasks.classification.reliability import reliability
from medtune.tasks.classification.tables import Curves

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# Maximum number of distinguishable curves or colors in a legend.
MAX_LEGEND = 12


def draw_confusion(path: Path, counts: npt.NDArray[np.int64], classes: Sequence[str], title: str) -> None:
    """Draw the confusion matrix, with image counts as numbers and the fraction per label as color.

    Args:
        path: PNG file to write.
        counts: (classes, classes) number of images by label, then prediction.
        classes: class names. With more than `MAX_CLASSES` classes, those with the most errors are drawn. The other
            classes are summed in one row and one column.
        title: second line of the title.
    """
    counts, classes, note = _most_confused(counts, classes)
    side = 2.2 + 0.55 * len(classes)
    fraction = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with plot_file(path, (side + 1.3, side)) as axes:
        matrix = axes.imshow(fraction, cmap="cividis", vmin=0, vmax=1)
        for (row, column), n in np.ndenumerate(counts):
            if note and not n:
                continue
            dark = fraction[row, column] < 0.5
            axes.text(column, row, f"{n}", ha="center", va="center", color="white" if dark else "black")
        axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="prediction", ylabel="label")
        axes.set_title(f"Confusion matrix{note}\n{title}")
        axes.figure.colorbar(matrix, ax=axes, shrink=0.8, label="fraction of images with this label")


def _most_confused(
    counts: npt.NDArray[np.int64], classes: Sequence[str]
) -> tuple[npt.NDArray[np.int64], list[str], str]:
    """Return counts and names of the classes with the most errors, the others summed, and a note for the title."""
    names = [shorten(name) for name in classes]
    if len(classes) <= MAX_CLASSES:
        return counts, names, ""
    errors = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    selected = most_frequent(errors)
    index = np.full(len(classes), MAX_CLASSES)
    index[selected] = np.arange(MAX_CLASSES)
    summed = np.zeros((MAX_CLASSES + 1, MAX_CLASSES + 1), np.int64)
    rows, columns = np.nonzero(counts)
    np.add.at(summed, (index[rows], index[columns]), counts[rows, columns])
    others = f"{len(classes) - MAX_CLASSES:,} other classes"
    note = f": the {MAX_CLASSES} of {len(classes):,} classes with the most errors"
    return summed, [*(names[k] for k in selected), others], note


def draw_roc(path: Path, curves: Curves, title: str) -> None:
    """Draw one ROC curve per class with its AUROC.

    Args:
        path: PNG file to write.
        curves: false and true positive rates by class. With more than `MAX_CLASSES` classes, those with the lowest
            AUROC are drawn.
        title: second line of the title.
    """
    note = "" if len(curves) == 1 else ", one-vs-rest"
    if len(curves) > MAX_CLASSES:
        areas = {name: float(np.trapezoid(tpr, fpr)) for name, (fpr, tpr) in curves.items()}
        lowest = sorted(areas, key=lambda name: areas[name])[:MAX_LEGEND]
        mean = np.mean(list(areas.values()))
        note += f": the {MAX_LEGEND} of {len(curves):,} classes\nwith the lowest AUROC; mean of all {mean:.3f}"
        curves = {name: curves[name] for name in lowest}
    with plot_file(path, (4.6, 4.4)) as axes:
        axes.plot([0, 1], [0, 1], color=GRAY, lw=0.8, ls=":")
        for index, (name, (fpr, tpr)) in enumerate(curves.items()):
            area = float(np.trapezoid(tpr, fpr))
            axes.plot(fpr, tpr, lw=1.6, ls=("-", "--", "-.")[index % 3], label=f"{shorten(name)}, AUROC {area:.3f}")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_aspect("equal")
        axes.set_title(f"ROC{note}\n{title}")
        if curves:
            axes.legend(loc="lower right", frameon=False)
        else:
            axes.text(0.5, 0.5, "undefined: the test images\nshow only one class", ha="center", va="center")


def draw_precision_recall(path: Path, curves: Curves, prevalence: Mapping[str, float], title: str) -> None:
    """Draw one precision-recall curve per class with its average precision.

    Args:
        path: PNG file to write.
        curves: recall and precision by class. With more than `MAX_CLASSES` classes, those with the lowest average
            precision are drawn.
        prevalence: fraction of the images of each class, which is the precision of a random ranking.
        title: second line of the title.
    """
    areas = {name: float(np.sum(np.diff(recall) * precision[1:])) for name, (recall, precision) in curves.items()}
    shown = sorted(areas, key=lambda name: areas[name])[:MAX_LEGEND] if len(curves) > MAX_CLASSES else list(curves)
    note = "" if len(curves) == 1 else ", one-vs-rest"
    if len(shown) < len(curves):
        note += f": the {MAX_LEGEND} of {len(curves):,} classes\nwith the lowest average precision"
    with plot_file(path, (4.6, 4.4)) as axes:
        for index, name in enumerate(shown):
            label = f"{shorten(name)}, average precision {areas[name]:.3f}"
            style = ("-", "--", "-.")[index % 3]
            line = axes.step(*curves[name], where="pre", lw=1.6, ls=style, label=label)[0]
            axes.axhline(prevalence[name], color=line.get_color(), lw=0.8, ls=":")
        axes.set(xlabel="recall (sensitivity)", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_aspect("equal")
        axes.set_title(f"Precision and recall{note} (dotted: prevalence)\n{title}")
        if curves:
            axes.legend(loc="lower left", frameon=False)
        else:
            axes.text(0.5, 0.5, "undefined: the test images\nshow only one class", ha="center", va="center")


def draw_reliability(
    path: Path,
    labels: npt.NDArray[np.int64],
    before: npt.NDArray[np.float64] | None,
    after: npt.NDArray[np.float64],
    bins: int,
    title: str,
) -> None:
    """Draw the reliability diagram. The marker size grows with the number of images per bin.

    Args:
        path: PNG file to write.
        labels: (n,) class indices.
        before: (n, classes) probabilities before calibration, or None if unknown.
        after: (n, classes) calibrated probabilities.
        bins: number of confidence bins.
        title: second line of the title.
    """
    with plot_file(path, (4.6, 4.4)) as axes:
        axes.plot([0, 1], [0, 1], color=GRAY, lw=0.8, ls=":")
        for name, probabilities, marker, color in (
            ("before calibration", before, "o", COLORS[1]),
            ("calibrated" if before is None else "after temperature scaling", after, "s", COLORS[0]),
        ):
            if probabilities is None:
                continue
            rows = reliability(labels, probabilities, bins)
            x, y = [row["confidence"] for row in rows], [row["accuracy"] for row in rows]
            area = [12 + 160 * row["images"] / len(labels) for row in rows]
            axes.plot(x, y, lw=1.0, color=color)
            axes.scatter(x, y, s=area, marker=marker, color=color, label=name, zorder=3, alpha=0.85, clip_on=False)
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.set_title(f"Reliability of the most probable class\n{title}")
        axes.legend(loc="upper left", frameon=False, markerscale=0.6)


def draw_history(
    path: Path, history: Sequence[dict[str, Any]], title: str, metrics: Sequence[Metric] = EACH_EPOCH
) -> None:
    """Draw the learning curves of all stages in sequence.

    Args:
        path: PNG file to write.
        history: one row per epoch, from `medtune.evaluation.tables.join_history`.
        title: second line of the title.
        metrics: validation metrics to draw next to the losses.
    """
    with plot_file(path, (8.2, 3.4), ncols=2) as (left, right):
        for axes, names in (
            (left, ("train/loss", "val/loss")),
            (right, [f"val/{metric.name}" for metric in metrics]),
        ):
            for name, style in zip(names, itertools.cycle(("-", "--", "-.", ":"))):
                points = [(row["epoch"], row[name]) for row in history if name in row]
                if points:
                    marker = "." if len(points) < 40 else None
                    axes.plot(*zip(*points, strict=True), ls=style, lw=1.4, marker=marker, label=name)
            for row, following in itertools.pairwise(history):
                if row["stage"] != following["stage"]:
                    x, text = row["epoch"], following["stage"]
                    axes.axvline(x + 0.5, color=GRAY, lw=0.8)
                    axes.text(x + 0.6, 1.0, text, transform=axes.get_xaxis_transform(), va="top")
            axes.set_xlabel("epoch")
            if axes.lines:
                axes.legend(frameon=False)
        left.set_title(f"Loss\n{title}")
        right.set_title("Validation metrics\n")


def draw_patients(path: Path, patients: Sequence[dict[str, Any]], classes: Sequence[str], title: str) -> None:
    """Draw the fraction of correct images per patient, lowest first, and the patient recognition rate as a line.

    Args:
        path: PNG file to write.
        patients: rows of `medtune.tasks.classification.tables.patient_rows`.
        classes: class names. With more than `MAX_CLASSES` classes, those with the most patients are colored and the
            others are gray.
        title: second line of the title.
    """
    labels = np.array([row["label"] for row in patients], np.int64)
    colored = range(len(classes)) if len(classes) <= MAX_CLASSES else most_frequent(np.bincount(labels), MAX_LEGEND)
    series = [(shorten(classes[k]), MARKERS[k % len(MARKERS)], COLORS[k % len(COLORS)], labels == k) for k in colored]
    if len(classes) > MAX_CLASSES:
        others = f"{len(classes) - len(colored):,} other classes"
        series.append((others, ".", GRAY, ~np.isin(labels, colored)))
    named = len(patients) <= 40
    with plot_file(path, (max(4.6, min(0.24 * len(patients) + 1.6, 11)), 3.6)) as axes:
        rate = float(np.mean([row["correct"] for row in patients]))
        axes.axhline(rate, color=GRAY, lw=1)
        axes.text(0.99, rate, f"mean {rate:.3f}", transform=axes.get_yaxis_transform(), ha="right", va="bottom")
        for name, marker, color, members in series:
            positions = np.flatnonzero(members).tolist()
            rows = [patients[x] for x in positions]
            axes.scatter(
                positions,
                [row["correct"] for row in rows],
                s=[14 + 2.0 * min(row["images"], 60) for row in rows],
                marker=marker,
                color=color,
                alpha=0.85,
                label=name,
                clip_on=False,
            )
        axes.set(ylabel="fraction of correct images", ylim=(-0.03, 1.03), xlabel="patients")
        axes.set_xticks(range(len(patients)) if named else [])
        if named:
            axes.set_xticklabels([row["patient"][:14] for row in patients], rotation=70, ha="right", fontsize=7)
        axes.set_title(f"Patient recognition (marker size: images)\n{title}")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=0.7)


def draw_samples(path: Path, images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], title: str) -> None:
    """Draw images (h, w, 3) uint8 in rows of six, each with a caption."""
    columns = 6
    rows = max(1, -(-len(images) // columns))
    with plot_file(path, (1.75 * columns, 2.1 * rows + 0.5), nrows=rows, ncols=columns, squeeze=False) as grid:
        for axes in grid.flat:
            axes.axis("off")
            axes.set(xticks=[], yticks=[])  # saves time: matplotlib measures even invisible ticks
        for axes, image, caption in zip(grid.flat, images, captions, strict=False):
            axes.imshow(image)
            axes.set_title(caption, fontsize=7, loc="center", y=1.0)  # a fixed y avoids slow automatic placement
        grid[0, 0].figure.suptitle(title, fontsize=9, x=0.01, ha="left")
