"""Plot of the metric, and of the gain over full fine-tuning, by percentage of the training patients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.formatting import resampling_unit
from medtune.benchmark.report.plots.style import BLACK, LIGHT_GRAY, method_style, metric_label, sample_title
from medtune.benchmark.report.records import BASELINES, FULL
from medtune.evaluation.metric import Floats
from medtune.evaluation.plot_file import plot_file

MAX_COLORED = 8  # number of methods in color, besides the baselines


def fraction_plot(path: Path | BinaryIO, comparison: Comparison) -> None:
    """Draw one line per method. Baselines are black, the methods with the best ranks colored, and the others gray."""
    methods, order = comparison.cube.methods, [int(m) for m in comparison.summary.order]
    gains = _gains(comparison)
    peft = [m for m in order if methods[m] not in BASELINES]
    shown = [m for m in order if m in peft[:MAX_COLORED] or methods[m] in BASELINES]
    styles = {m: method_style(methods[m], peft.index(m) if m in peft else 0) for m in shown}
    panels = 1 if gains is None else 2
    with plot_file(path, (4.4 * panels + 1.6, 4.2), ncols=panels, squeeze=False) as grid:
        figure = grid[0, 0].figure
        _panel(grid[0, 0], comparison, comparison.summary.mean, shown, styles)
        grid[0, 0].set(ylabel=metric_label(comparison))
        grid[0, 0].set_title("mean over seeds")
        if gains is not None:
            _panel(grid[0, 1], comparison, gains, [m for m in shown if methods[m] != FULL], styles)
            grid[0, 1].axhline(0, color=BLACK, lw=1.2)
            grid[0, 1].set(ylabel=f"{metric_label(comparison)}, method − full")
            grid[0, 1].set_title("difference from full fine-tuning (line at 0)")
        handles, names = grid[0, 0].get_legend_handles_labels()
        if len(shown) < len(methods):
            handles.append(grid[0, 0].plot([], [], color=LIGHT_GRAY, lw=1)[0])
            names.append("other methods")
        figure.legend(handles, names, loc="outside right upper", frameon=False, fontsize=8, handlelength=3)
        figure.suptitle(
            f"{metric_label(comparison)} by amount of training data\n{sample_title(comparison)}",
            x=0.01,
            ha="left",
            fontsize=9,
        )


def _gains(comparison: Comparison) -> Floats | None:
    """Return the differences (M, P) from full fine-tuning; None if full fine-tuning has no results."""
    if not any(comparison.against_full):
        return None
    gains = np.full(comparison.summary.mean.shape, np.nan)
    for p, against in enumerate(comparison.against_full):
        for m, paired in against.items():
            gains[m, p] = paired.difference
    return gains


def _panel(
    axes: Any, comparison: Comparison, heights: Floats, shown: Sequence[int], styles: dict[int, dict[str, Any]]
) -> None:
    """Draw lines by percentage: those in `shown` in their style, and the others in gray."""
    percents = np.array(comparison.cube.percents, np.float64)
    for m in range(len(heights)):
        if m not in styles:
            available = ~np.isnan(heights[m])
            axes.plot(percents[available], heights[m][available], color=LIGHT_GRAY, lw=0.7, marker=".", ms=3, zorder=1)
    for m in reversed(shown):  # draw the best on top
        available = ~np.isnan(heights[m])
        axes.plot(percents[available], heights[m][available], lw=1.5, ms=5, mec="white", mew=0.5, zorder=3, **styles[m])
    for m in shown:
        axes.plot([], [], lw=1.5, ms=5, label=comparison.cube.methods[m], **styles[m])
    axes.set_xscale("log")
    axes.set_xticks(percents, [f"{p:g}" for p in percents])
    axes.set_xticks([], minor=True)
    axes.set_xlim(percents[0] / 1.3, percents[-1] * 1.3)
    axes.set_xlabel(f"% of the training {resampling_unit(comparison.cube)}s")
    axes.grid(axis="y", color="#E6E6E6", lw=0.6)
    axes.set_axisbelow(True)
