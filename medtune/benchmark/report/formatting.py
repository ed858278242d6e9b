"""Figures, counts and lists as the page and the command line write them."""

from collections.abc import Sequence

import numpy as np

from medtune.benchmark.report.metric_cube import Block
from medtune.tasks import base

NAMED = 8  # more names than this are counted


def metric_title(name: str, kind: str) -> str:
    """A metric's name in words, as its task has it."""
    metric = base.metric(kind, name)
    return metric.title if metric else name.replace("_", " ")


def number(value: float | None, digits: int = 3) -> str:
    """That many decimals with a true minus, or a dash where there is no figure."""
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float) -> str:
    """Three decimals with a sign."""
    return "–" if np.isnan(value) else f"{value:+.3f}".replace("-", "−")


def p_text(value: float) -> str:
    """A p-value: three decimals, `< 0.001` below."""
    return "–" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def counted(n: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names with commas, the first eight where there are more."""
    if len(names) <= NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"


def parameters(n: float) -> str:
    """A count of trainable parameters, short: 0, 770, 12.3 k, 85.8 M."""
    if np.isnan(n):
        return "–"
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f}"


def unit(block: Block) -> str:
    """What was resampled: patients, or images where no patient is known."""
    return "patient" if all(result.get("groups_known", True) for result in block.results) else "image"
