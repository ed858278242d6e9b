"""Plot of the metric by number of trainable parameters, with the Pareto front.

Each percentage of the training patients has its own panel. No other method has fewer parameters and a better metric
than a method on the front.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.lines import Line2D

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.pareto import pareto_front
from medtune.benchmark.report.plots.labels import Label, place_labels
from medtune.benchmark.report.plots.style import BASELINE_STYLES, BLACK, fraction_title, metric_label, sample_title
from medtune.benchmark.report.records import BASELINES
from medtune.evaluation.plot_file import COLORS, plot_file

FRONT, OTHER = COLORS[1], COLORS[0]


def pareto_plot(path: Path | BinaryIO, comparison: Comparison) -> None:
    """Draw one point per method.

    Baselines and the methods on the front are labeled with their names. Other methods are labeled with the number of
    their row in the table of the report.
    """
    shown = [p for p, best in enumerate(comparison.best) if best is not None]
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    numbers = {int(m): n for n, m in enumerate(comparison.summary.order, start=1)}
    on_front = {
        p: pareto_front(comparison.trainable, comparison.cube.sign * comparison.summary.mean[:, p]) for p in shown
    }
    with plot_file(path, (5.4 * columns + 1.3, 4.4 * rows + 0.5), nrows=rows, ncols=columns, squeeze=False) as grid:
        figure = grid[0, 0].figure
        for axes in list(grid.flat)[len(shown) :]:
            axes.axis("off")
        for axes, p in zip(grid.flat, shown, strict=False):
            _panel(axes, comparison, p, on_front[p])
        _legend(figure, comparison, numbers, np.all(list(on_front.values()), axis=0))
        heading = f"{metric_label(comparison)} by number of trainable parameters"
        figure.suptitle(f"{heading}\n{sample_title(comparison)}", x=0.01, ha="left", fontsize=9)
        for axes, p in zip(grid.flat, shown, strict=False):
            _name(axes, comparison, p, on_front[p], numbers)


def _panel(axes: Any, comparison: Comparison, percent_index: int, on_front: Any) -> None:
    """Draw the points of the methods and the front at one percentage."""
    cost, mean = comparison.trainable, comparison.summary.mean[:, percent_index]
    _axis(axes, cost[~np.isnan(mean)])
    line = steps([(cost[m], mean[m]) for m in np.flatnonzero(on_front)], axes.get_xlim()[1])
    axes.plot(*zip(*line, strict=True), color=FRONT, lw=1, alpha=0.7, zorder=1)
    for m, method in enumerate(comparison.cube.methods):
        if method in BASELINE_STYLES:
            color, marker = BLACK, BASELINE_STYLES[method]["marker"]
        else:
            color, marker = (FRONT if on_front[m] else OTHER), "o"
        axes.plot(cost[m], mean[m], marker, color=color, ms=5, mec="white", mew=0.5, zorder=3)
    axes.margins(y=0.08)
    axes.set_ylim(axes.get_ylim())
    axes.grid(axis="y", color="#E6E6E6", lw=0.6)
    axes.set_axisbelow(True)
    axes.set(xlabel="trainable parameters of the backbone", ylabel=metric_label(comparison))
    axes.set_title(fraction_title(comparison, percent_index))


def steps(corners: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Return the corners of the front as a step line.

    Args:
        corners: points (cost, metric) on the front.
        end: cost to which the line is extended.
    """
    line: list[tuple[float, float]] = []
    for x, y in sorted(corners):
        line += [(x, line[-1][1]), (x, y)] if line else [(x, y)]
    return [*line, (end, line[-1][1])]


def _axis(axes: Any, cost: Any) -> None:
    """Set a logarithmic axis for the costs, which also shows 0 if a cost is 0."""
    positive = cost[cost > 0]
    if not len(positive):
        axes.set_xlim(-1, 1)
        axes.set_xticks([0])
        return
    low = 10 ** np.floor(np.log10(positive.min()))
    axes.set_xscale("symlog", linthresh=low, linscale=0.6) if (cost == 0).any() else axes.set_xscale("log")
    decades = np.arange(np.log10(low), np.ceil(np.log10(positive.max())) + 1)
    axes.set_xticks([*([0] if (cost == 0).any() else []), *10**decades])
    axes.set_xlim(-0.35 * low if (cost == 0).any() else low / 2, positive.max() * 3)


def _name(axes: Any, comparison: Comparison, percent_index: int, on_front: Any, numbers: dict[int, int]) -> None:
    """Write the names or numbers of the methods near their points."""
    cost, mean, methods = comparison.trainable, comparison.summary.mean[:, percent_index], comparison.cube.methods
    available = [m for m in range(len(methods)) if not np.isnan(mean[m]) and not np.isnan(cost[m])]
    named = [m for m in available if on_front[m] or methods[m] in BASELINES]
    labels = [
        Label(methods[m], cost[m], mean[m], 8, BLACK if methods[m] in BASELINES else FRONT, methods[m] in BASELINES)
        for m in named
    ]
    labels += [Label(str(numbers[m]), cost[m], mean[m], 6.5, "#404040") for m in available if m not in named]
    line = steps([(cost[m], mean[m]) for m in np.flatnonzero(on_front)], axes.get_xlim()[1])
    place_labels(axes, labels, [(cost[m], mean[m]) for m in available], line)


def _legend(figure: Any, comparison: Comparison, numbers: dict[int, int], always: Any) -> None:
    """Draw the legend. `always` is True for methods that are on the front at every percentage."""
    methods = comparison.cube.methods
    numbered = [(n, m) for m, n in numbers.items() if not always[m] and methods[m] not in BASELINES]
    handles = [
        Line2D([], [], color=FRONT, lw=1, marker="o", ms=5, label="Pareto front"),
        *(
            Line2D([], [], ls="", marker=BASELINE_STYLES[m]["marker"], ms=5, color=BLACK, label=m)
            for m in BASELINE_STYLES
            if m in methods
        ),
        *(Line2D([], [], ls="", label=f"{n:>2}  {methods[m]}") for n, m in sorted(numbered)),
    ]
    figure.legend(
        handles=handles,
        loc="outside right upper",
        frameon=False,
        fontsize=6.5,
        handlelength=1.2,
        labelspacing=0.25,
        title="numbers: rows of the table" if numbered else None,
        title_fontsize=6.5,
        alignment="left",
    )
