"""Style of the plots: colors, markers, titles and axis labels."""

from typing import Any

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.formatting import metric_title, resampling_unit
from medtune.config.errors import pluralize
from medtune.evaluation.plot_file import COLORS
from medtune.tasks.classification.plots import MARKERS

BLACK = "#000000"
LIGHT_GRAY = "#BDBDBD"
# Baselines are black with different markers and lines. PEFT methods have colors.
BASELINE_STYLES: dict[str, dict[str, Any]] = {
    "full": {"marker": "s", "ls": "-"},
    "linear": {"marker": "^", "ls": ":"},
    "cdtm": {"marker": "D", "ls": "--"},
}
METHOD_COLORS = COLORS[:6]


def method_style(method: str, index: int) -> dict[str, Any]:
    """Return the color, marker and line style of a method. `index` is its position among the PEFT methods."""
    if method in BASELINE_STYLES:
        return {"color": BLACK, **BASELINE_STYLES[method]}
    return {
        "color": METHOD_COLORS[index % len(METHOD_COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "ls": ("-", "--", "-.")[index // len(METHOD_COLORS) % 3],
    }


def fraction_title(comparison: Comparison, percent_index: int) -> str:
    """Return the title of a panel for one percentage, such as `10 % of the training patients`.

    Args:
        comparison: comparison of the methods.
        percent_index: index into `comparison.cube.percents`.
    """
    return f"{comparison.cube.percents[percent_index]} % of the training {resampling_unit(comparison.cube)}s"


def sample_title(comparison: Comparison) -> str:
    """Return a subtitle with the dataset, the backbone, the protocol and the sample size."""
    cube = comparison.cube
    protocols = ", ".join(sorted({result["protocol"] for result in cube.results}))
    n = f"{pluralize(cube.n_patients, f'test {resampling_unit(cube)}')}, {pluralize(len(cube.seeds), 'seed')}"
    return f"{cube.data}, {cube.backbone}; protocol {protocols}, {n}"


def metric_label(comparison: Comparison) -> str:
    """Return the title of the metric, with a note if lower is better."""
    lower = "" if comparison.cube.sign > 0 else " (lower is better)"
    return metric_title(comparison.cube.metric, comparison.cube.kind) + lower
