"""Formatting of numbers, counts and lists for the report and the command line."""

from collections.abc import Sequence

import numpy as np

from medtune.benchmark.report.metric_cube import MetricCube
from medtune.tasks import base

MAX_NAMES = 8  # further names are counted instead of listed


def metric_title(name: str, kind: str) -> str:
    """Return the title of a metric. `kind` is the kind of the task, such as `classification`."""
    metric = base.metric(kind, name)
    return metric.title if metric else name.replace("_", " ")


def format_number(value: float | None, digits: int = 3) -> str:
    """Format a number with `digits` decimals and a typographic minus; a dash for None or NaN."""
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def format_signed(value: float) -> str:
    """Format a number with a sign and three decimals; a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:+.3f}".replace("-", "−")


def format_p(value: float) -> str:
    """Format a p-value with three decimals, or as `< 0.001`; a dash for NaN."""
    return "–" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def join_names(names: Sequence[str]) -> str:
    """Join names with commas. Of a long list, only the first `MAX_NAMES` names are shown and the others counted."""
    if len(names) <= MAX_NAMES + 1:
        return ", ".join(names)
    return f"{', '.join(names[:MAX_NAMES])} and {len(names) - MAX_NAMES} more"


def format_count(n: float) -> str:
    """Format a number of trainable parameters, such as 0, 770, 12.3 k or 85.8 M; a dash for NaN."""
    if np.isnan(n):
        return "–"
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f}"


def resampling_unit(cube: MetricCube) -> str:
    """Return the unit that the jackknife leaves out: `patient`, or `sample_noun` if the patients are unknown."""
    return "patient" if all(result.get("patients_known", True) for result in cube.results) else sample_noun(cube)


def sample_noun(cube: MetricCube) -> str:
    """Return the word for a sample of the dataset: image, slide or volume."""
    return next((str(result["item"]) for result in cube.results if "item" in result), "image")
