"""Plot of training time and peak memory by method, at the largest percentage of training patients with results."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.plots.style import BLACK, fraction_title, sample_title
from medtune.benchmark.report.records import BASELINES
from medtune.evaluation.metric import Floats
from medtune.evaluation.plot_file import COLORS, plot_file


def cost_plot(path: Path | BinaryIO, comparison: Comparison) -> None:
    """Draw one bar per method, the mean over the seeds. The fastest method is first, and baselines are black."""
    methods = comparison.cube.methods
    percent_index = max(p for p, best in enumerate(comparison.best) if best is not None)
    seconds, memory = (_mean(comparison, percent_index, name) for name in ("seconds", "peak_memory_mb"))
    order = [int(m) for m in np.argsort(seconds, kind="stable") if not np.isnan(seconds[m])]
    names = [methods[m] for m in order]
    bars = [("seconds of training at the selected learning rate", seconds)]
    if not np.isnan(memory[order]).all():
        bars.append(("peak memory, MiB", memory))
    size = 4.6 * len(bars) + 0.8, 0.17 * len(order) + 1.4
    with plot_file(path, size, ncols=len(bars), sharey=True, squeeze=False) as grid:
        for axes, (label, lengths) in zip(grid.flat, bars, strict=True):
            _panel(axes, names, lengths[order], label)
        grid[0, 0].set_yticks(range(len(names)), names, fontsize=7)
        for tick, name in zip(grid[0, 0].get_yticklabels(), names, strict=True):
            if name in BASELINES:
                tick.set_fontweight("bold")
        grid[0, 0].figure.suptitle(
            f"Time and memory, {fraction_title(comparison, percent_index)}\n{sample_title(comparison)}",
            x=0.01,
            ha="left",
            fontsize=9,
        )


def _mean(comparison: Comparison, percent_index: int, name: str) -> Floats:
    """Return the mean (M,) over seeds of the field `name` of result.json, by method; NaN without results."""
    means = np.full(len(comparison.cube.methods), np.nan)
    for m in range(len(means)):
        values = [
            result[name] for result in comparison.cube.results_of(m, percent_index) if result.get(name) is not None
        ]
        if values:
            means[m] = np.mean(values)
    return means


def _panel(axes: Any, names: list[str], lengths: Floats, label: str) -> None:
    colors = [BLACK if name in BASELINES else COLORS[0] for name in names]
    axes.barh(range(len(names)), np.nan_to_num(lengths), color=colors, height=0.72)
    for y, length in enumerate(lengths):
        if not np.isnan(length):
            axes.annotate(f"{length:,.1f}" if length < 100 else f"{length:,.0f}", (length, y), xytext=(3, 0),
                          textcoords="offset points", va="center", fontsize=6.5)  # fmt: skip
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label)
