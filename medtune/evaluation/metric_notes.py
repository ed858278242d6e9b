"""Texts that explain metrics in reports: titles with units, the better direction, and the calibration temperature."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from medtune.data.class_selection import list_names
from medtune.data.wording import wording
from medtune.evaluation.metric import Metric

TEMPERATURE_NOTE = (
    "A temperature above 1 means that the confidence of the network was too high, and one below 1 that it was too low."
)


def retitle(metrics: Iterable[Metric], info: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Return the metrics with the units of a data set in their titles.

    Args:
        metrics: metrics of a task.
        info: content of dataset.json.

    Returns:
        The metrics. Only titles for images with masks change: these titles name areas instead of volumes.
    """
    if "volumes" not in info:
        return tuple(metrics)
    words = wording(info)
    return tuple(replace(metric, title=words.title(metric.title)) for metric in metrics)


def lower_is_better(metrics: Iterable[Metric], shown: Collection[str]) -> str:
    """Return a sentence with the metrics whose best value is the lowest.

    Args:
        metrics: metrics of a task.
        shown: names of the metrics in the table.

    Returns:
        One sentence; an empty string if lower values are better for none of the shown metrics.
    """
    titles = [metric.title for metric in metrics if metric.direction == "min" and metric.name in shown]
    return f"Lower is better for {list_names(titles, len(titles))}." if titles else ""
