"""What the pictures share: how baselines look, titles, axes of panels."""

from typing import Any

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.formatting import metric_title, pluralize, resampling_unit
from medtune.evaluation.plot_file import COLORS
from medtune.tasks.classification.plots import MARKERS

BLACK = "#000000"
LIGHT_GRAY = "#BDBDBD"
# Baselines are black and told apart by marker and line; PEFT methods have the colours.
BASELINE: dict[str, dict[str, Any]] = {
    "full": {"marker": "s", "ls": "-"},
    "linear": {"marker": "^", "ls": ":"},
    "cdtm": {"marker": "D", "ls": "--"},
}
METHOD_COLORS = COLORS[:6]


def method_style(method: str, index: int) -> dict[str, Any]:
    """Colour, marker and line of a method; `index` counts the PEFT methods that are shown."""
    if method in BASELINE:
        return {"color": BLACK, **BASELINE[method]}
    return {
        "color": METHOD_COLORS[index % len(METHOD_COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "ls": ("-", "--", "-.")[index // len(METHOD_COLORS) % 3],
    }


def fraction_title(comparison: Comparison, percent: int) -> str:
    """`10 % of the training patients`, for the panel of that index."""
    return f"{comparison.cube.percents[percent]} % of the training {resampling_unit(comparison.cube)}s"


def sample_title(comparison: Comparison) -> str:
    """Data set, backbone, and what was tested on."""
    block = comparison.cube
    protocols = ", ".join(sorted({result["protocol"] for result in block.results}))
    n = f"{pluralize(block.n_groups, f'test {resampling_unit(block)}')}, {pluralize(len(block.seeds), 'seed')}"
    return f"{block.data}, {block.backbone}; protocol {protocols}, {n}"


def metric_label(comparison: Comparison) -> str:
    """The metric, and which way is better where that is not up."""
    lower = "" if comparison.cube.sign > 0 else " (lower is better)"
    return metric_title(comparison.cube.metric, comparison.cube.kind) + lower
