"""Plots of a segmentation evaluation as PNG files: Dice per label, volumes and learning curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtune.data.class_selection import shorten
from medtune.data.wording import VOLUMES, Wording
from medtune.evaluation.plot_file import COLORS, GRAY, plot_file
from medtune.tasks.segmentation.volume_predictions import VolumePredictions

# Largest number of labels in the box plot of `draw_dice`, and of panels in `draw_sizes`. metrics.json has all labels.
MAX_LABELS = 40
MAX_PANELS = 12
PANELS_PER_ROW = 3
LIMITS = 1.96  # standard deviations of the limits of agreement


def draw_dice(
    path: Path, predictions: VolumePredictions, labels: Sequence[str], title: str, words: Wording = VOLUMES
) -> None:
    """Draw the Dice of all volumes per label as boxes with one point per volume, lowest median first.

    Volumes in which neither the truth nor the prediction has the label are left out, because their Dice is 1 by
    convention.

    Args:
        path: PNG file to write.
        predictions: predictions of the test volumes.
        labels: names of the labels.
        title: second line of the title.
        words: words for the data.
    """
    values = {
        name: np.array([volume[k].dice for volume in predictions.cases if volume[k].outcome != "both empty"])
        for k, name in enumerate(labels)
    }
    shown = sorted((name for name in labels if len(values[name])), key=lambda name: float(np.median(values[name])))
    note = f": the {MAX_LABELS} lowest of {len(shown)} labels" if len(shown) > MAX_LABELS else ""
    shown = shown[:MAX_LABELS]
    with plot_file(path, (6.4, 1.2 + 0.42 * max(len(shown), 2))) as axes:
        jitter = np.random.default_rng(0)
        for position, name in enumerate(shown):
            dice = values[name]
            axes.boxplot(
                dice,
                positions=[position],
                orientation="horizontal",
                widths=0.55,
                showfliers=False,
                medianprops={"color": COLORS[1], "lw": 1.6},
                boxprops={"color": GRAY},
                whiskerprops={"color": GRAY},
                capprops={"color": GRAY},
            )
            offsets = jitter.uniform(-0.16, 0.16, len(dice))
            axes.plot(dice, position + offsets, "o", ms=3.5, color=COLORS[0], alpha=0.55, mew=0, clip_on=False)
        names = [f"{shorten(name)} ({len(values[name])})" for name in shown]
        axes.set_yticks(range(len(shown)), names)
        axes.set(xlabel="Dice", xlim=(0, 1), ylim=(max(len(shown), 1) - 0.5, -0.5))
        axes.grid(axis="x", color=GRAY, alpha=0.25, lw=0.6)
        axes.set_title(f"Dice per label (number of {words.items}){note}\n{title}")


def draw_sizes(
    path: Path, predictions: VolumePredictions, labels: Sequence[str], title: str, words: Wording = VOLUMES
) -> None:
    """Draw the agreement of predicted and true sizes of each label (Bland and Altman, Lancet 327:307, 1986).

    The limits of agreement contain 95 % of the differences if the differences are normally distributed. All volumes
    count as independent, although a patient may have several volumes.

    Args:
        path: PNG file to write.
        predictions: predictions of the test volumes.
        labels: names of the labels.
        title: second line of the title.
        words: words for the data.
    """
    shown = [
        (name, np.array([(volume[k].truth_ml, volume[k].prediction_ml) for volume in predictions.cases]))
        for k, name in enumerate(labels)
    ]
    shown = [(name, sizes) for name, sizes in shown if sizes.any()][:MAX_PANELS]
    unit = "" if words.is_planar else f" {words.size}"  # the unit "1,000 pixels" cannot follow a number
    columns = min(PANELS_PER_ROW, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    with plot_file(path, (3.3 * columns, 2.7 * rows + 0.3), nrows=rows, ncols=columns, squeeze=False) as grid:
        for axes in grid.flat[len(shown) :]:
            axes.axis("off")
        for (name, sizes), axes, color in zip(shown, grid.flat, COLORS * len(shown), strict=False):
            sizes = sizes[sizes.any(axis=1)]
            mean, difference = sizes.mean(axis=1), sizes[:, 1] - sizes[:, 0]
            bias = float(difference.mean())
            spread = LIMITS * float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
            axes.axhline(0, color=GRAY, lw=0.8, ls=":")
            axes.axhline(bias, color="black", lw=1.2)
            for limit in (bias - spread, bias + spread):
                axes.axhline(limit, color="black", lw=0.9, ls="--")
            axes.plot(mean, difference, "o", ms=4, color=color, alpha=0.8, mew=0)
            axes.set_xlabel(f"mean of truth and prediction ({words.size})")
            limits = f"limits {bias - spread:+.3g} to {bias + spread:+.3g}{unit}"
            axes.set_title(f"{shorten(name)}: bias {bias:+.3g}{unit}\n{limits}")
        for axes in grid[:, 0]:
            axes.set_ylabel(f"prediction minus truth ({words.size})")
        more = f", the first {MAX_PANELS} labels" if len(labels) > MAX_PANELS else ""
        grid[0, 0].figure.suptitle(f"Size of each label (Bland-Altman{more})\n{title}", fontsize=9, x=0.01, ha="left")


def summary_rows(
    predictions: VolumePredictions, paths: Sequence[str], patients_known: bool = True
) -> list[dict[str, Any]]:
    """Return the worst, the median and the best volume by mean Dice over the labels.

    Args:
        predictions: predictions of the test volumes.
        paths: path of each volume of the dataset.
        patients_known: False if there are no patient ids. `predictions.patient_ids` then has the path of each volume.

    Returns:
        At most three entries `{name, position, volume, whose, dice}` of different volumes, lowest Dice first. `whose`
        states the patient.
    """
    order = np.argsort(predictions.dice, kind="stable").tolist()
    chosen: dict[int, str] = {}
    for name, position in (("worst", order[0]), ("best", order[-1]), ("median", order[(len(order) - 1) // 2])):
        chosen.setdefault(position, name)
    return [
        {
            "name": name,
            "position": position,
            "volume": paths[predictions.rows[position]],
            "whose": f"patient {predictions.patient_ids[position]}" if patients_known else "patient unknown",
            "dice": float(predictions.dice[position]),
        }
        for position, name in sorted(chosen.items(), key=lambda item: order.index(item[0]))
    ]
