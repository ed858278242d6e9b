"""Figures, counts and lists as the page and the command line write them."""

from collections.abc import Sequence

import numpy as np

from medtune.benchmark.report.metric_cube import MetricCube
from medtune.tasks import base

MAX_NAMES = 8  # more names than this are counted


def metric_title(name: str, kind: str) -> str:
    """A metric's name in words, as its task has it."""
    metric = base.metric(kind, name)
    return metric.title if metric else name.replace("_", " ")


def format_number(value: float | None, digits: int = 3) -> str:
    """That many decimals with a true minus, or a dash where there is no figure."""
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def format_signed(value: float) -> str:
    """Three decimals with a sign."""
    return "–" if np.isnan(value) else f"{value:+.3f}".replace("-", "−")


def format_p(value: float) -> str:
    """A p-value: three decimals, `< 0.001` below."""
    return "–" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def pluralize(n: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def join_names(names: Sequence[str]) -> str:
    """Names with commas, the first eight where there are more."""
    if len(names) <= MAX_NAMES + 1:
        return ", ".join(names)
    return f"{', '.join(names[:MAX_NAMES])} and {len(names) - MAX_NAMES} more"


def format_count(n: float) -> str:
    """A count of trainable parameters, short: 0, 770, 12.3 k, 85.8 M."""
    if np.isnan(n):
        return "–"
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f}"


def resampling_unit(cube: MetricCube) -> str:
    """What is left out in turn: patients, or images where no patient is known."""
    return "patient" if all(result.get("groups_known", True) for result in cube.results) else "image"
