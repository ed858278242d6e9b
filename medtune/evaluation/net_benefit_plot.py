"""Plot of decision curves with one panel per class."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medtune.data.class_selection import shorten
from medtune.evaluation.net_benefit import THRESHOLDS, DecisionCurve
from medtune.evaluation.plot_file import COLORS, GRAY, plot_file

MAX_PANELS = 12
COLUMNS = 4


def draw_decision_curves(path: Path, curves: Mapping[str, DecisionCurve], title: str) -> None:
    """Draw the net benefit of the model, of acting on all images and of never acting.

    Args:
        path: PNG file to write.
        curves: decision curves by class. The first `MAX_PANELS` are drawn.
        title: second line of the title.
    """
    shown = dict(list(curves.items())[:MAX_PANELS])
    columns = min(max(len(shown), 1), COLUMNS)
    rows = max(1, -(-len(shown) // columns))
    size = (4.6, 3.6) if len(shown) < 2 else (2.7 * columns, 2.4 * rows + 0.5)
    with plot_file(path, size, nrows=rows, ncols=columns, squeeze=False) as grid:
        for axes in grid.flat[len(shown) :]:
            axes.axis("off")
        for axes, (name, curve) in zip(grid.flat, shown.items(), strict=False):
            top = max(float(curve.treat_all[0]), float(np.max(curve.model)), 0.02)
            axes.axhline(0, color=GRAY, lw=0.8, ls=":", label="never act")
            axes.plot(THRESHOLDS, curve.treat_all, color=COLORS[1], lw=1.0, ls="--", label="act on all")
            axes.plot(THRESHOLDS, curve.model, color=COLORS[0], lw=1.6, label="model")
            axes.set(xlim=(0, 1), ylim=(-0.25 * top, 1.1 * top), xlabel="threshold probability", ylabel="net benefit")
            if len(shown) > 1:
                axes.set_title(shorten(name))
        if shown:
            grid[0, 0].legend(frameon=False, loc="upper right")
        note = f": {len(shown)} of {len(curves)}" if len(shown) < len(curves) else ""
        heading = f"Decision curve{'' if len(shown) == 1 else 's' + note}\n{title}"
        grid[0, 0].figure.suptitle(heading, fontsize=9, x=0.01, ha="left")
