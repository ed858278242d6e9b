"""Segmentation statistics, summed per patient, so that a bootstrap can weight the patients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.metric import Floats
from medtune.tasks.segmentation.case_metrics import LabelMetrics

# Quantities that are averaged over volumes. Volume errors are absolute, so that errors of opposite sign do not cancel.
QUANTITIES: Mapping[str, Callable[[LabelMetrics], float]] = {
    "dice": lambda case: case.dice,
    "nsd": lambda case: case.nsd,
    "hd95": lambda case: case.hd95,
    "volume_error": lambda case: abs(case.volume_error),
    "volume_error_percent": lambda case: abs(case.volume_error_percent),
    "sensitivity": lambda case: case.sensitivity,
    "precision": lambda case: case.precision,
}


@dataclass(frozen=True)
class SegmentationStats:
    """Statistics of a set of volumes from which all metrics are computed, summed per patient.

    Attributes:
        labels: names of the labels.
        volumes: (patients,) number of volumes.
        outcomes: (patients, labels) number of volumes by outcome (see `LabelMetrics.outcome`).
        sums: (patients, labels) sum over the volumes where the quantity is defined, by quantity.
        counts: (patients, labels) number of volumes where the quantity is defined, by quantity.
    """

    labels: tuple[str, ...]
    volumes: Floats
    outcomes: Mapping[str, Floats]
    sums: Mapping[str, Floats]
    counts: Mapping[str, Floats]

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.volumes)

    @property
    def width(self) -> int:
        """Number of pairs of a volume and a label."""
        return int(self.volumes.sum()) * len(self.labels)

    @property
    def sizes(self) -> Floats:
        """(patients,) number of volumes per patient."""
        return self.volumes

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """(labels,) True if the truth of at least one volume has the label. Averages contain only these labels."""
        return np.asarray((self.outcomes["both"] + self.outcomes["missed"]).sum(axis=0) > 0)

    def weighted(self, weights: Floats) -> "WeightedVolumes":
        """Return the statistics with each patient counted `weights` (R, patients) times."""
        return WeightedVolumes(self, weights)

    def patients_per_class(self) -> npt.NDArray[np.int64]:
        """Return the number of patients (labels,) with a volume whose truth has the label."""
        return np.asarray(((self.outcomes["both"] + self.outcomes["missed"]) > 0).sum(axis=0))


@dataclass(frozen=True)
class WeightedVolumes:
    """Statistics with R different sets of weights of the patients.

    Attributes:
        stats: statistics of the set of volumes.
        weights: (R, patients) weight of each patient.
    """

    stats: SegmentationStats
    weights: Floats

    def mean(self, quantity: str) -> Floats:
        """Compute the mean (R, labels) of a quantity over the volumes where it is defined; NaN if there are none."""
        total, count = self.weights @ self.stats.sums[quantity], self.weights @ self.stats.counts[quantity]
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)

    def macro(self, quantity: str) -> Floats:
        """Average a quantity over volumes and then over the scored labels.

        Args:
            quantity: key of `QUANTITIES`.

        Returns:
            (R,) averages. An average is NaN if the quantity of a scored label is undefined with these weights, because
            averages over different labels cannot be compared.
        """
        scored = self.stats.scored
        return self.mean(quantity)[:, scored].mean(axis=1) if scored.any() else np.full(len(self.weights), np.nan)


def accumulate(cases: Sequence[Sequence[LabelMetrics]], patients: npt.NDArray[Any]) -> SegmentationStats:
    """Sum the statistics of volumes per patient.

    Args:
        cases: metrics of every label, per volume. All volumes have the same labels in the same order.
        patients: (n,) patient id of each volume.

    Returns:
        The statistics.

    Raises:
        ValueError: there are no volumes, the volumes differ in their labels, or `patients` has another length.
    """
    if not cases:
        raise ValueError("no volumes to score")
    if len(cases) != len(patients):
        raise ValueError(f"{len(cases)} volumes, but {len(patients)} patient ids")
    labels = tuple(case.label for case in cases[0])
    if any(tuple(case.label for case in volume) != labels for volume in cases):
        raise ValueError("the volumes have different labels")
    names, member = np.unique(patients, return_inverse=True)

    def total(values: npt.NDArray[Any]) -> Floats:
        result = np.zeros((len(names), len(labels)))
        np.add.at(result, member, values)
        return result

    outcomes = np.array([[case.outcome for case in volume] for volume in cases])
    quantities = {
        name: np.array([[value(case) for case in volume] for volume in cases]) for name, value in QUANTITIES.items()
    }
    return SegmentationStats(
        labels,
        np.bincount(member).astype(np.float64),
        {name: total(outcomes == name) for name in ("both", "both empty", "missed", "spurious")},
        {name: total(np.nan_to_num(values)) for name, values in quantities.items()},
        {name: total(np.isfinite(values)) for name, values in quantities.items()},
    )


def patients_with(quantity: str, label: int) -> Callable[[SegmentationStats], int]:
    """Return a function that counts the patients for whom a quantity of a label is defined."""
    return lambda stats: int((stats.counts[quantity][:, label] > 0).sum())


def patients_of_all(quantity: str) -> Callable[[SegmentationStats], int]:
    """Return a function that computes the effective number of patients of an average over labels.

    Args:
        quantity: key of `QUANTITIES`.

    Returns:
        Function from statistics to a number. It counts the pairs of a patient and a scored label for which the quantity
        is defined, and returns at most the number of patients.
    """
    return lambda stats: int(min(stats.n_patients, (stats.counts[quantity][:, stats.scored] > 0).sum()))
