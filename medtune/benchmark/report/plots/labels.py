"""Placement of text labels near crowded points of a plot. A thin line connects a distant label to its point."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NEAR = 5.0  # smallest distance from the center of a marker to the text, in points (1/72 inch)
FAR = 17.0  # distance in points above which a label gets a line
ANGLES = np.deg2rad([0, 180, 90, 270, 45, 315, 135, 225, 20, 160, 200, 340])
Box = tuple[float, float, float, float]  # left, bottom, right and top, in pixels


@dataclass(frozen=True)
class Label:
    """Text for the point (x, y) in data coordinates. `size` is the font size in points."""

    text: str
    x: float
    y: float
    size: float
    color: str
    bold: bool = False


def place_labels(
    axes: Any, labels: Sequence[Label], points: Sequence[tuple[float, float]], line: Sequence[tuple[float, float]]
) -> None:
    """Write labels inside the axes. Overlap with points and other labels is avoided. Earlier labels have priority.

    The function draws the plot to fix its layout. The limits of the axes must not change afterwards.

    Args:
        axes: axes with final limits.
        labels: labels to write.
        points: data coordinates that must stay visible.
        line: corners of a line, in data coordinates, that labels should avoid.
    """
    figure = axes.figure
    figure.canvas.draw()
    scale = figure.dpi / 72
    dots = [axes.transData.transform(point) for point in points]
    taken: list[Box] = [(x - 3.5 * scale, y - 3.5 * scale, x + 3.5 * scale, y + 3.5 * scale) for x, y in dots]
    taken += [(x - 1, y - 1, x + 1, y + 1) for x, y in _along(axes.transData.transform(line))]
    frame = axes.get_window_extent()
    for label in labels:
        annotation = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=label.size,
            color=label.color,
            fontweight="bold" if label.bold else "normal",
            ha="center",
            va="center",
            zorder=5,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": label.color, "alpha": 0.6, "shrinkA": 0, "shrinkB": 2},
        )
        annotation.set_in_layout(False)
        extent = annotation.get_window_extent()
        width, height = extent.width, extent.height
        center = axes.transData.transform((label.x, label.y))
        offset, box = _free(center, width, height, scale, taken, (frame.x0, frame.y0, frame.x1, frame.y1))
        annotation.set_position((offset[0] / scale, offset[1] / scale))
        if np.hypot(*offset) <= (FAR + width / 2 / scale) * scale:
            annotation.arrow_patch.set_visible(False)
        taken.append(box)


def _along(corners: Any) -> Iterator[tuple[float, float]]:
    """Yield points every 4 pixels along the line through `corners`."""
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        for fraction in np.linspace(0, 1, 2 + int(np.hypot(x1 - x0, y1 - y0) / 4)):
            yield float(x0 + fraction * (x1 - x0)), float(y0 + fraction * (y1 - y0))


def _free(
    center: Any, width: float, height: float, scale: float, taken: Sequence[Box], frame: Box
) -> tuple[tuple[float, float], Box]:
    """Return the offset of the position with the least overlap, and the box of the label there, in pixels."""
    lowest_cost, best = np.inf, None
    for dx, dy in _offsets(width, height, scale):
        x, y = center[0] + dx, center[1] + dy
        box = (x - width / 2 - 1, y - height / 2, x + width / 2 + 1, y + height / 2)
        outside = box[0] < frame[0] or box[1] < frame[1] or box[2] > frame[2] or box[3] > frame[3]
        cost = sum(_overlap(box, other) for other in taken) + 1e6 * outside
        if cost < lowest_cost:
            lowest_cost, best = cost, ((dx, dy), box)
        if cost == 0:
            break
    assert best is not None
    return best


def _offsets(width: float, height: float, scale: float) -> Iterator[tuple[float, float]]:
    """Yield candidate offsets of the label from its point, the nearest first."""
    for step, angle in itertools.product((0.0, 5.0, 10.0, 16.0, 24.0, 34.0, 46.0, 60.0), ANGLES):
        reach = (NEAR + step) * scale
        # The distance is between the marker and the edge of the text, in every direction.
        yield (
            float(np.cos(angle) * (reach + width / 2)),
            float(np.sin(angle) * (reach + height / 2 - scale)),
        )


def _overlap(a: Box, b: Box) -> float:
    """Return the area in which two boxes overlap."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
