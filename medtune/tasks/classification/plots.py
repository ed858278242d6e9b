"""Pictures of an evaluation, each a PNG: colours that the colour-blind tell apart, titled with protocol and n."""

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
# Curves and colors that a legend can tell apart, where there are too many classes for all of them.
MAX_LEGEND = 12


def draw_confusion(path: Path, counts: npt.NDArray[np.int64], classes: Sequence[str], title: str) -> None:
    """Draw the confusion matrix: colour is the share of the label's images, numbers are images.

    Args:
        path: PNG file to write.
        counts: (classes, classes) images by label, then prediction.
        classes: class names. Of more than `MAX_CLASSES` those with the most errors are drawn, the rest as one row.
        title: second line of the title.
    """
    counts, classes, note = _most_confused(counts, classes)
    side = 2.2 + 0.55 * len(classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with plot_file(path, (side + 1.3, side)) as axes:
        shown = axes.imshow(share, cmap="cividis", vmin=0, vmax=1)
        for (row, column), n in np.ndenumerate(counts):
            if note and not n:
                continue
            light = share[row, column] < 0.5
            axes.text(column, row, f"{n}", ha="center", va="center", color="white" if light else "black")
        axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="prediction", ylabel="label")
        axes.set_title(f"Confusion{note}\n{title}")
        axes.figure.colorbar(shown, ax=axes, shrink=0.8, label="share of the label's images")


def _most_confused(
    counts: npt.NDArray[np.int64], classes: Sequence[str]
) -> tuple[npt.NDArray[np.int64], list[str], str]:
    """Counts and names of the classes with the most errors, the other classes summed up, and a note for the title."""
    names = [shorten(name) for name in classes]
    if len(classes) <= MAX_CLASSES:
        return counts, names, ""
    errors = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    shown = most_frequent(errors)
    place = np.full(len(classes), MAX_CLASSES)
    place[shown] = np.arange(MAX_CLASSES)
    summed = np.zeros((MAX_CLASSES + 1, MAX_CLASSES + 1), np.int64)
    rows, columns = np.nonzero(counts)
    np.add.at(summed, (place[rows], place[columns]), counts[rows, columns])
    others = f"{len(classes) - MAX_CLASSES:,} other classes"
    note = f": the {MAX_CLASSES} of {len(classes):,} classes with the most errors"
    return summed, [*(names[k] for k in shown), others], note


def draw_roc(path: Path, curves: Curves, title: str) -> None:
    """Draw ROC curves, one per class, each with its area; of more than `MAX_CLASSES` those with the lowest areas."""
    note = "" if len(curves) == 1 else ", each class against the rest"
    if len(curves) > MAX_CLASSES:
        areas = {name: float(np.trapezoid(tpr, fpr)) for name, (fpr, tpr) in curves.items()}
        lowest = sorted(areas, key=lambda name: areas[name])[:MAX_LEGEND]
        mean = np.mean(list(areas.values()))
        note += f": the {MAX_LEGEND} of {len(curves):,} classes\nwith the lowest areas; mean of all {mean:.3f}"
        curves = {name: curves[name] for name in lowest}
    with plot_file(path, (4.6, 4.4)) as axes:
        axes.plot([0, 1], [0, 1], color=GRAY, lw=0.8, ls=":")
        for index, (name, (fpr, tpr)) in enumerate(curves.items()):
            area = float(np.trapezoid(tpr, fpr))
            axes.plot(fpr, tpr, lw=1.6, ls=("-", "--", "-.")[index % 3], label=f"{shorten(name)}, area {area:.3f}")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_aspect("equal")
        axes.set_title(f"ROC{note}\n{title}")
        if curves:
            axes.legend(loc="lower right", frameon=False)
        else:
            axes.text(0.5, 0.5, "undefined: the test images\nhold one class only", ha="center", va="center")


def draw_precision_recall(path: Path, curves: Curves, prevalence: Mapping[str, float], title: str) -> None:
    """Draw precision-recall curves, one per class, each with its average precision.

    Args:
        path: PNG file to write.
        curves: recall and precision by class; of more than `MAX_CLASSES` those with the lowest areas are drawn.
        prevalence: share of the images that are of each class, the precision of a random ranking.
        title: second line of the title.
    """
    areas = {name: float(np.sum(np.diff(recall) * precision[1:])) for name, (recall, precision) in curves.items()}
    shown = sorted(areas, key=lambda name: areas[name])[:MAX_LEGEND] if len(curves) > MAX_CLASSES else list(curves)
    note = "" if len(curves) == 1 else ", each class against the rest"
    if len(shown) < len(curves):
        note += f": the {MAX_LEGEND} of {len(curves):,} classes\nwith the lowest areas"
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
            axes.text(0.5, 0.5, "undefined: the test images\nhold one class only", ha="center", va="center")


def draw_reliability(
    path: Path,
    labels: npt.NDArray[np.int64],
    before: npt.NDArray[np.float64] | None,
    after: npt.NDArray[np.float64],
    bins: int,
    title: str,
) -> None:
    """Reliability diagram before (if known) and after calibration; marker size grows with the images in a bin."""
    with plot_file(path, (4.6, 4.4)) as axes:
        axes.plot([0, 1], [0, 1], color=GRAY, lw=0.8, ls=":")
        for name, probabilities, mark, colour in (
            ("before", before, "o", COLORS[1]),
            ("calibrated" if before is None else "after temperature scaling", after, "s", COLORS[0]),
        ):
            if probabilities is None:
                continue
            rows = reliability(labels, probabilities, bins)
            x, y = [row["confidence"] for row in rows], [row["accuracy"] for row in rows]
            area = [12 + 160 * row["images"] / len(labels) for row in rows]
            axes.plot(x, y, lw=1.0, color=colour)
            axes.scatter(x, y, s=area, marker=mark, color=colour, label=name, zorder=3, alpha=0.85, clip_on=False)
        axes.set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
        axes.set_title(f"Reliability of the most probable class\n{title}")
        axes.legend(loc="upper left", frameon=False, markerscale=0.6)


def draw_history(
    path: Path, joined: Sequence[dict[str, Any]], title: str, metrics: Sequence[Metric] = EACH_EPOCH
) -> None:
    """Learning curves of all stages in a row: losses, and the validation metrics."""
    with plot_file(path, (8.2, 3.4), ncols=2) as (left, right):
        for axes, names in (
            (left, ("train/loss", "val/loss")),
            (right, [f"val/{metric.name}" for metric in metrics]),
        ):
            for name, style in zip(names, itertools.cycle(("-", "--", "-.", ":"))):
                points = [(row["epoch"], row[name]) for row in joined if name in row]
                if points:
                    mark = "." if len(points) < 40 else None
                    axes.plot(*zip(*points, strict=True), ls=style, lw=1.4, marker=mark, label=name)
            for first, then in itertools.pairwise(joined):
                if first["stage"] != then["stage"]:
                    axes.axvline(first["epoch"] + 0.5, color=GRAY, lw=0.8)
                    axes.text(first["epoch"] + 0.6, 1.0, then["stage"], transform=axes.get_xaxis_transform(), va="top")
            axes.set_xlabel("epoch")
            if axes.lines:
                axes.legend(frameon=False)
        left.set_title(f"Loss\n{title}")
        right.set_title("Validation metrics\n")


def draw_patients(path: Path, patients: Sequence[dict[str, Any]], classes: Sequence[str], title: str) -> None:
    """Draw the share of each patient's images that are right, lowest first; the line is the patient recognition rate.

    Of more than `MAX_CLASSES` classes those with the most patients have a color, the others are gray.
    """
    labels = np.array([row["label"] for row in patients], np.int64)
    shown = range(len(classes)) if len(classes) <= MAX_CLASSES else most_frequent(np.bincount(labels), MAX_LEGEND)
    series = [(shorten(classes[k]), MARKERS[k % len(MARKERS)], COLORS[k % len(COLORS)], labels == k) for k in shown]
    if len(classes) > MAX_CLASSES:
        others = f"{len(classes) - len(shown):,} other classes"
        series.append((others, ".", GRAY, ~np.isin(labels, shown)))
    named = len(patients) <= 40
    with plot_file(path, (max(4.6, min(0.24 * len(patients) + 1.6, 11)), 3.6)) as axes:
        rate = float(np.mean([row["right"] for row in patients]))
        axes.axhline(rate, color=GRAY, lw=1)
        axes.text(0.99, rate, f"mean {rate:.3f}", transform=axes.get_yaxis_transform(), ha="right", va="bottom")
        for name, marker, color, chosen in series:
            mine = [(x, patients[x]) for x in np.flatnonzero(chosen).tolist()]
            axes.scatter(
                [x for x, _ in mine],
                [row["right"] for _, row in mine],
                s=[14 + 2.0 * min(row["images"], 60) for _, row in mine],
                marker=marker,
                color=color,
                alpha=0.85,
                label=name,
                clip_on=False,
            )
        axes.set(ylabel="share of images right", ylim=(-0.03, 1.03), xlabel="patients")
        axes.set_xticks(range(len(patients)) if named else [])
        if named:
            axes.set_xticklabels([row["group"][:14] for row in patients], rotation=70, ha="right", fontsize=7)
        axes.set_title(f"Patient recognition (size: images)\n{title}")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=0.7)


def draw_samples(path: Path, images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], title: str) -> None:
    """Pictures (h, w, 3) uint8 in rows of six, a caption under each."""
    columns = 6
    rows = max(1, -(-len(images) // columns))
    with plot_file(path, (1.75 * columns, 2.1 * rows + 0.5), nrows=rows, ncols=columns, squeeze=False) as grid:
        for axes in grid.flat:
            axes.axis("off")
            axes.set(xticks=[], yticks=[])  # matplotlib measures ticks that it does not draw
        for axes, image, caption in zip(grid.flat, images, captions, strict=False):
            axes.imshow(image)
            axes.set_title(caption, fontsize=7, loc="center", y=1.0)  # y: nothing else is measured to place it
        grid[0, 0].figure.suptitle(title, fontsize=9, x=0.01, ha="left")
