"""Plot of one volume: three planes with the outlines of truth and prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.data.class_selection import shorten
from medtune.data.image_colors import CHANNELS, restore_colors
from medtune.evaluation.plot_file import COLORS, plot_file
from medtune.tasks.segmentation.volume_predictions import VolumePredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

PERCENTILES = (1, 99)  # of the image, shown as black and white
# Axes of each plane: the axis perpendicular to the slice, the horizontal axis and the vertical axis.
PLANES = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}
MAX_LEGEND = 12
# Margin around the labels on each side: this fraction of their extent, but at least this many mm.
MARGIN, MARGIN_MM = 0.5, 20.0


@dataclass(frozen=True)
class CaseVolumes:
    """Image of a volume on the grid of the network, and masks on the grid of the file. Both have the same borders.

    Attributes:
        image: (X', Y', Z') first channel, normalized and resampled; uint8 (X', Y', 1, 3) for an image with colors.
        truth: (X, Y, Z) true mask in RAS (axes to the right, the front and the head).
        prediction: (X, Y, Z) predicted mask in RAS.
        size_mm: extent along each axis in mm.
        window: values of `image` that are shown as black and white.
        is_image: True if the volume is an image, whose axes have no anatomical directions.
    """

    image: npt.NDArray[Any]
    truth: npt.NDArray[np.uint8]
    prediction: npt.NDArray[np.uint8]
    size_mm: tuple[float, float, float]
    window: tuple[float, float]
    is_image: bool = False

    @property
    def planes(self) -> dict[str, tuple[int, int, int]]:
        """The planes to show, as in `PLANES`. A volume of one slice has only one plane."""
        flat = {name: axes for name, axes in PLANES.items() if self.truth.shape[axes[0]] == 1}
        return flat if len(flat) == 1 else PLANES

    def center(self) -> tuple[float, float, float]:
        """Return, for each axis, the position with the most labeled voxels, as a fraction of the axis, 0..1."""
        fractions = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            counts = sum(np.count_nonzero(mask, axis=others) for mask in (self.truth, self.prediction))
            counts = np.asarray(counts)
            best = int(counts.argmax()) if counts.any() else len(counts) // 2
            fractions.append((best + 0.5) / len(counts))
        return fractions[0], fractions[1], fractions[2]

    def field(self) -> tuple[tuple[float, float], ...]:
        """Return the part of each axis that plots show, as first and last position in mm.

        Plots show the true labels with a margin. Without true labels, they show the predicted labels. Without any
        labels, they show the complete volume.
        """
        mask = self.truth if self.truth.any() else self.prediction
        shown = []
        for axis, size in enumerate(self.size_mm):
            others = tuple(other for other in range(3) if other != axis)
            labeled = np.flatnonzero(mask.any(axis=others))
            step = size / mask.shape[axis]
            first, last = (labeled[0] * step, (labeled[-1] + 1) * step) if len(labeled) else (0.0, size)
            margin = max(MARGIN_MM, MARGIN * (last - first))
            shown.append((max(0.0, float(first - margin)), min(size, float(last + margin))))
        return tuple(shown)


def load_case(prepared: "PreparedDataset", predictions: VolumePredictions, position: int) -> CaseVolumes:
    """Load image and masks of a predicted volume.

    Args:
        prepared: prepared dataset.
        predictions: predictions of volumes.
        position: position of the volume in `predictions`.

    Returns:
        The volumes.
    """
    row = int(predictions.rows[position])
    entry = prepared.volumes.entries[row]
    is_image = "images" in prepared.info["volumes"]
    stored = prepared.volumes.image(row)
    has_colors = is_image and len(stored) == CHANNELS
    image = restore_colors(stored, entry.quantiles) if has_colors else np.asarray(stored[0], np.float32)
    low, high = (0.0, 255.0) if has_colors else (float(value) for value in np.percentile(image, PERCENTILES))
    x, y, z = (length * mm for length, mm in zip(entry.original_shape, entry.spacing, strict=True))
    truth, prediction = np.asarray(prepared.volumes.truth(row)), predictions.maps[position]()
    return CaseVolumes(image, truth, prediction, (x, y, z), (low, max(high, low + 1e-6)), is_image)


def plane(volume: npt.NDArray[Any], axes: tuple[int, int, int], fraction: float) -> npt.NDArray[Any]:
    """Return one slice of a volume.

    Args:
        volume: (X, Y, Z), or (X, Y, Z, 3) with colors.
        axes: axis perpendicular to the slice, horizontal axis and vertical axis.
        fraction: position along the first of `axes`, 0..1.

    Returns:
        (vertical, horizontal), or (vertical, horizontal, 3).
    """
    normal, horizontal, vertical = axes
    index = min(int(fraction * volume.shape[normal]), volume.shape[normal] - 1)
    taken = volume.take(index, normal)
    return np.asarray(taken.swapaxes(0, 1) if horizontal < vertical else taken)


def draw_case(path: Path, case: CaseVolumes, labels: Sequence[str], caption: str, dice: Sequence[float | None]) -> None:
    """Draw the planes with the outlines of the true mask (solid) and of the predicted mask (dashed).

    Args:
        path: PNG file to write.
        case: image and masks.
        labels: names of the labels.
        caption: title.
        dice: Dice of each label; None if neither mask has it.
    """
    field, planes = case.field(), case.planes
    shown = [last - first for first, last in field]
    widths = [shown[horizontal] for _, horizontal, _ in planes.values()]
    tallest = max(shown[vertical] for *_, vertical in planes.values())
    center, height = case.center(), 9.0 * tallest / sum(widths)
    size, ratios = (9.6, min(max(height, 2.2), 7.0) + 1.0), {"width_ratios": widths}
    with plot_file(path, size, ncols=len(planes), squeeze=False, gridspec_kw=ratios) as (grid,):
        for axes, (name, (normal, horizontal, vertical)) in zip(grid, planes.items(), strict=True):
            extent = (0, case.size_mm[horizontal], 0, case.size_mm[vertical])
            order, fraction = (normal, horizontal, vertical), center[normal]
            low, high = case.window
            axes.imshow(
                plane(case.image, order, fraction), cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent
            )
            for mask, style in ((case.truth, "solid"), (case.prediction, "dashed")):
                draw_outlines(axes, plane(mask, order, fraction), extent, style)
            if not case.is_image:
                axes.set_title(f"{name}, {'xyz'[normal]} = {fraction * case.size_mm[normal]:.0f} mm", loc="center")
            # Radiological view: the patient's right is on the left.
            axes.set(xlim=field[0][::-1] if horizontal == 0 else field[horizontal], ylim=field[vertical])
            x, letter, side = (0.01, "R", "left") if horizontal == 0 else (0.99, "A", "right")
            if not case.is_image:
                axes.text(x, 0.5, letter, ha=side, va="center", color="#ffd166", transform=axes.transAxes)
            axes.spines[:].set_visible(False)
            axes.set(xticks=[], yticks=[])
            axes.set_aspect("equal")
        _draw_legend(grid[0].figure, case, labels, dice)
        grid[0].figure.suptitle(caption, fontsize=9, x=0.01, ha="left")


def draw_outlines(axes: Any, mask: npt.NDArray[Any], extent: tuple[float, float, float, float], style: str) -> None:
    """Draw the outline of each label of a slice (vertical, horizontal) in its color."""
    rows, columns = mask.shape
    # One row and column of zeros around the slice close the outlines at its border.
    padded = np.pad(mask, 1)
    x = (np.arange(-1, columns + 1) + 0.5) * extent[1] / columns
    y = (np.arange(-1, rows + 1) + 0.5) * extent[3] / rows
    for value in np.unique(mask[mask > 0]).tolist():
        color = COLORS[(value - 1) % len(COLORS)]
        axes.contour(x, y, (padded == value).astype(float), [0.5], colors=[color], linestyles=[style], linewidths=[1.3])


def _draw_legend(figure: Any, case: CaseVolumes, labels: Sequence[str], dice: Sequence[float | None]) -> None:
    """Draw the colors of the labels in the masks with their Dice, and the line styles."""
    from matplotlib.lines import Line2D

    masks = (case.truth, case.prediction)
    present = [value for value in range(1, len(labels) + 1) if any((mask == value).any() for mask in masks)]
    handles = [
        Line2D([], [], color=COLORS[(value - 1) % len(COLORS)], lw=2,
               label=f"{shorten(labels[value - 1])} {_show(dice[value - 1])}")
        for value in present[:MAX_LEGEND]
    ]  # fmt: skip
    handles += [
        Line2D([], [], color="#444444", ls="solid", label="truth"),
        Line2D([], [], color="#444444", ls="dashed", label="prediction"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), frameon=False)


def _show(dice: float | None) -> str:
    return "" if dice is None else f"(Dice {dice:.3f})"
