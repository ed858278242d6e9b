"""Segmentation metrics, averaged over volumes and then over labels.

An average contains only scored labels. The truth of at least one volume has a scored label. This module must not import
torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from medtune.evaluation.metric import Floats, Metric, compute
from medtune.tasks.segmentation.case_metrics import NAN, LabelMetrics
from medtune.tasks.segmentation.statistics import (
    SegmentationStats,
    WeightedVolumes,
    accumulate,
    patients_of_all,
    patients_with,
)


@dataclass(frozen=True)
class Quantity:
    """Properties that the average over labels and the metrics of single labels share.

    Attributes:
        name: key of `QUANTITIES`, and name of the average.
        title: name in reports.
        direction: `max` if higher is better, `min` if lower is better.
        min_patients: smallest number of patients for an interval (see `Metric.min_patients`). The distribution of HD95
            is so skewed that a few patients often include no volume with a large distance.
    """

    name: str
    title: str
    direction: Literal["max", "min"]
    min_patients: int = 1

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `Metric` for the confidence interval. Quantities to minimize have no upper bound."""
        scale = {} if self.direction == "max" else {"bounds": (0.0, np.inf), "skewed": True}
        return {"min_patients": self.min_patients, **scale}


REPORTED = (
    Quantity("dice", "Dice", "max"),
    Quantity("nsd", "normalized surface distance", "max"),
    Quantity("hd95", "HD95 (mm)", "min", min_patients=20),
    Quantity("volume_error", "volume error (ml)", "min", min_patients=12),
    Quantity("volume_error_percent", "volume error (%)", "min"),
    Quantity("sensitivity", "sensitivity", "max"),
    Quantity("precision", "precision", "max"),
)


def macro(stats: WeightedVolumes, quantity: str) -> Floats:
    """Compute the average (R,) of a quantity over volumes and then over the scored labels."""
    return stats.macro(quantity)


def of_label(stats: WeightedVolumes, quantity: str, label: int) -> Floats:
    """Compute the average (R,) of a quantity of one label over volumes."""
    return stats.mean(quantity)[:, label]


METRICS = tuple(
    Metric(
        quantity.name,
        f"mean {quantity.title}",
        quantity.direction,
        partial(macro, quantity=quantity.name),
        order=10 * position,
        each_epoch=quantity.name == "dice",
        headline=quantity.name in ("dice", "nsd", "hd95"),
        sample_size=patients_of_all(quantity.name),
        **quantity.options,
    )
    for position, quantity in enumerate(REPORTED, 1)
)
EACH_EPOCH = tuple(metric for metric in METRICS if metric.each_epoch)


def label_metrics(labels: Sequence[str]) -> tuple[Metric, ...]:
    """Return the metrics of single labels, with names such as `dice/liver`.

    Args:
        labels: names of the labels, in the order of the statistics.

    Returns:
        All metrics of the first label, then those of the next one.
    """
    return tuple(
        Metric(
            f"{quantity.name}/{label}",
            f"{quantity.title}, {label}",
            quantity.direction,
            partial(of_label, quantity=quantity.name, label=index),
            sample_size=patients_with(quantity.name, index),
            **quantity.options,
        )
        for index, label in enumerate(labels)
        for quantity in REPORTED
    )


def score(cases: Sequence[Sequence[LabelMetrics]]) -> dict[str, float]:
    """Compute the metrics that training shows after each epoch.

    Args:
        cases: metrics of every label, per volume. The surface distances are not used.

    Returns:
        Values by name; NaN where undefined.

    Raises:
        ValueError: no volumes, or volumes with different labels.
    """
    # All volumes count as one patient, because patients do not affect these metrics.
    stats = accumulate(cases, np.zeros(len(cases), np.int64))
    return {name: float(value[0]) for name, value in compute(EACH_EPOCH, stats).items()}


def example(patients: Sequence[str], seed: int) -> SegmentationStats:
    """Create statistics of synthetic segmentations of an organ and a lesion, which is absent in some volumes.

    Args:
        patients: one name per patient. Patients with equal names have equal volumes.
        seed: random seed.

    Returns:
        The statistics.
    """
    cases, ids = [], []
    for position, name in enumerate(patients):
        draw = np.random.default_rng([seed, *name.encode()])
        for _ in range(int(draw.integers(1, 4))):
            cases.append((_example_label("organ", 0, draw), _example_label("lesion", 0.3, draw)))
            ids.append(f"{position:06}")
    return accumulate(cases, np.array(ids))


def _example_label(label: str, absent: float, draw: np.random.Generator) -> LabelMetrics:
    """Draw the metrics of a label. Truth and prediction each lack the label with the probability `absent`."""
    truth, prediction = draw.uniform(1, 5, 2) * (draw.random(2) >= absent)
    dice, nsd = draw.uniform(0.5, 1, 2) if truth and prediction else np.full(2, float(truth == prediction))
    return LabelMetrics(
        label,
        float(truth),
        float(prediction),
        float(dice),
        float(min(1.0, dice * (truth + prediction) / (2 * truth))) if truth else NAN,
        float(min(1.0, dice * (truth + prediction) / (2 * prediction))) if prediction else NAN,
        float(nsd),
        float(draw.exponential(4)) if truth or prediction else NAN,
    )
