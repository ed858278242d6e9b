"""Every method's difference from the best one, with intervals and corrected p-values; one panel a percent."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.ticker import MaxNLocator

from medtune.benchmark.report.comparison import Judged
from medtune.benchmark.report.formatting import p_text
from medtune.benchmark.report.plots.style import INK, metric_label, sample_title, share_title
from medtune.benchmark.report.records import BASELINES
from medtune.tasks.classification.plots import COLOURS, picture


def draw_forest(path: Path | BinaryIO, judged: Judged, percents: Sequence[int]) -> None:
    """Panels for the percents of those indices side by side; a filled marker separates from the best."""
    tallest = max(len(judged.against_best[p]) for p in percents)
    size = 5.2 * len(percents), 0.17 * tallest + 1.5
    with picture(path, size, ncols=len(percents), squeeze=False) as grid:
        for axes, p in zip(grid.flat, percents, strict=True):
            _panel(axes, judged, p)
        told = f"{metric_label(judged)}, method less best; filled: separates (Holm, {judged.alpha:.2g})"
        grid[0, 0].figure.suptitle(f"{told}\n{sample_title(judged)}", x=0.01, ha="left", fontsize=9)


def _panel(axes: Any, judged: Judged, percent: int) -> None:
    methods, best = judged.block.methods, judged.best[percent]
    assert best is not None
    rows = sorted(judged.against_best[percent].values(), key=lambda paired: -judged.block.sign * paired.difference)
    axes.axvline(0, color=INK, lw=1.2)
    for y, paired in enumerate(rows):
        baseline = methods[paired.method] in BASELINES
        colour = INK if baseline else COLOURS[0]
        separates = paired.separates(judged.alpha)
        if not np.isnan(paired.lo):
            axes.plot([paired.lo, paired.hi], [y, y], color=colour, lw=1.1)
        axes.plot(
            paired.difference, y, "s" if baseline else "o", ms=4.5, color=colour, mfc=colour if separates else "white"
        )
        axes.text(1.01, y, p_text(paired.adjusted), transform=axes.get_yaxis_transform(), va="center", fontsize=6.5,
                  fontweight="bold" if separates else "normal")  # fmt: skip
    axes.text(1.01, -1.1, "p (Holm)", transform=axes.get_yaxis_transform(), va="center", fontsize=6.5)
    axes.set_yticks(range(len(rows)), [methods[paired.method] for paired in rows], fontsize=7)
    for tick, paired in zip(axes.get_yticklabels(), rows, strict=True):
        if methods[paired.method] in BASELINES:
            tick.set_fontweight("bold")
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axes.grid(axis="x", color="#E6E6E6", lw=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"{metric_label(judged)}, method − {methods[best]}")
    axes.set_title(f"{share_title(judged, percent)}\nbest: {methods[best]}")
