"""Forest plot: difference of every method from the best method, with intervals and corrected p-values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.ticker import MaxNLocator

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.formatting import format_p
from medtune.benchmark.report.plots.style import BLACK, fraction_title, metric_label, sample_title
from medtune.benchmark.report.records import BASELINES
from medtune.evaluation.plot_file import COLORS, plot_file


def forest_plot(path: Path | BinaryIO, comparison: Comparison, percent_indices: Sequence[int]) -> None:
    """Draw one panel per percentage of the training patients. Filled markers are significant differences.

    Args:
        path: file to write.
        comparison: comparison of the methods.
        percent_indices: indices into `comparison.cube.percents`.
    """
    tallest = max(len(comparison.against_best[p]) for p in percent_indices)
    size = 5.2 * len(percent_indices), 0.17 * tallest + 1.5
    with plot_file(path, size, ncols=len(percent_indices), squeeze=False) as grid:
        for axes, p in zip(grid.flat, percent_indices, strict=True):
            _panel(axes, comparison, p)
        heading = f"{metric_label(comparison)}, method minus best; filled: significant (Holm, {comparison.alpha:.2g})"
        grid[0, 0].figure.suptitle(f"{heading}\n{sample_title(comparison)}", x=0.01, ha="left", fontsize=9)


def _panel(axes: Any, comparison: Comparison, percent_index: int) -> None:
    """Draw the differences from the best method at one percentage."""
    methods, best = comparison.cube.methods, comparison.best[percent_index]
    assert best is not None
    rows = sorted(
        comparison.against_best[percent_index].values(), key=lambda paired: -comparison.cube.sign * paired.difference
    )
    axes.axvline(0, color=BLACK, lw=1.2)
    for y, paired in enumerate(rows):
        baseline = methods[paired.method] in BASELINES
        color = BLACK if baseline else COLORS[0]
        significant = paired.is_significant(comparison.alpha)
        if not np.isnan(paired.lo):
            axes.plot([paired.lo, paired.hi], [y, y], color=color, lw=1.1)
        axes.plot(
            paired.difference, y, "s" if baseline else "o", ms=4.5, color=color, mfc=color if significant else "white"
        )
        axes.text(1.01, y, format_p(paired.adjusted), transform=axes.get_yaxis_transform(), va="center", fontsize=6.5,
                  fontweight="bold" if significant else "normal")  # fmt: skip
    axes.text(1.01, -1.1, "p (Holm)", transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)
    axes.set_yticks(range(len(rows)), [methods[paired.method] for paired in rows], fontsize=7)
    for tick, paired in zip(axes.get_yticklabels(), rows, strict=True):
        if methods[paired.method] in BASELINES:
            tick.set_fontweight("bold")
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axes.grid(axis="x", color="#E6E6E6", lw=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"{metric_label(comparison)}, method − {methods[best]}")
    axes.set_title(f"{fraction_title(comparison, percent_index)}\nbest: {methods[best]}")
