"""Plot of headline metrics (`Metric.headline`) with intervals per subgroup, compared with all test images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.data.class_selection import shorten
from medtune.evaluation.metric import Metric
from medtune.evaluation.plot_file import COLORS, GRAY, plot_file


def draw_subgroups(
    path: Path,
    documents: Sequence[Mapping[str, Any]],
    test: Mapping[str, Any],
    metrics: Sequence[Metric],
    title: str,
    unit: str = "patients",
) -> None:
    """Draw one panel per headline metric with one line per subgroup.

    A gray vertical line is the value for all test images.

    Args:
        path: PNG file to write.
        documents: value of `subgroups` in metrics.json.
        test: metrics of all test images by name, with the attribute `value`.
        metrics: metrics of the task.
        title: second line of the title.
        unit: what the jackknife of the intervals leaves out: patients, images or slides.
    """
    shown = [metric for metric in metrics if metric.headline and metric.name in test]
    lines = [(document["column"], subgroup) for document in documents for subgroup in document["subgroups"]]
    names = [
        f"{shorten(column)}: {shorten(subgroup['value'])} ({subgroup['n_patients']} {unit})"
        for column, subgroup in lines
    ]
    size = (3.0 + 2.4 * max(1, len(shown)), 1.2 + 0.28 * len(lines))
    with plot_file(path, size, ncols=max(1, len(shown)), sharey=True, squeeze=False) as grid:
        for axes, metric in zip(grid[0], shown, strict=False):
            if test[metric.name].value is not None:
                axes.axvline(test[metric.name].value, color=GRAY, lw=1)
            for y, (_, subgroup) in enumerate(lines):
                entry = subgroup["metrics"].get(metric.name) or {"value": None, "lo": None}
                if entry["lo"] is not None:
                    axes.plot([entry["lo"], entry["hi"]], [y, y], color=COLORS[0], lw=1.4, solid_capstyle="butt")
                if entry["value"] is not None:
                    fill = "full" if entry["lo"] is not None else "none"
                    axes.plot(entry["value"], y, "o", color=COLORS[0], ms=5, fillstyle=fill)
            axes.set_xlabel(metric.title)
            starts = [k for k in range(1, len(lines)) if lines[k][0] != lines[k - 1][0]]
            for start in starts:
                axes.axhline(start - 0.5, color=GRAY, lw=0.5, ls=":")
        first = grid[0][0]
        first.set_yticks(range(len(names)), names)
        first.set_ylim(len(names) - 0.5, -0.5)
        first.set_title(f"Subgroups (hollow: too few patients for an interval)\n{title}")
