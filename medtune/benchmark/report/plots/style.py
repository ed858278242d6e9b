"""What the pictures share: how baselines look, titles, axes of panels."""

from typing import Any

from medtune.benchmark.report.comparison import Judged
from medtune.benchmark.report.formatting import counted, metric_title, unit
from medtune.tasks.classification.plots import COLOURS, MARKS

INK = "#000000"
LIGHT = "#BDBDBD"
# Baselines are black and told apart by marker and line; PEFT methods have the colours.
BASELINE: dict[str, dict[str, Any]] = {
    "full": {"marker": "s", "ls": "-"},
    "linear": {"marker": "^", "ls": ":"},
    "cdtm": {"marker": "D", "ls": "--"},
}
HUES = COLOURS[:6]


def style(method: str, place: int) -> dict[str, Any]:
    """Colour, marker and line of a method; `place` counts the PEFT methods that are shown."""
    if method in BASELINE:
        return {"color": INK, **BASELINE[method]}
    return {
        "color": HUES[place % len(HUES)],
        "marker": MARKS[place % len(MARKS)],
        "ls": ("-", "--", "-.")[place // len(HUES) % 3],
    }


def share_title(judged: Judged, percent: int) -> str:
    """`10 % of the training patients`, for the panel of that index."""
    return f"{judged.block.percents[percent]} % of the training {unit(judged.block)}s"


def sample_title(judged: Judged) -> str:
    """Data set, backbone, and what was tested on."""
    block = judged.block
    protocols = ", ".join(sorted({result["protocol"] for result in block.results}))
    n = f"{counted(block.n_groups, f'test {unit(block)}')}, {counted(len(block.seeds), 'seed')}"
    return f"{block.data}, {block.backbone}; protocol {protocols}, {n}"


def metric_label(judged: Judged) -> str:
    """The metric, and which way is better where that is not up."""
    lower = "" if judged.block.sign > 0 else " (lower is better)"
    return metric_title(judged.block.metric, judged.block.kind) + lower
