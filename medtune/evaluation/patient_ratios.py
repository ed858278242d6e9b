"""Ratios of two sums over patients, with the same confidence intervals as metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.intervals import Interval, intervals
from medtune.evaluation.metric import Floats, Metric

NONE: Mapping[str, float] = {}  # every ratio has the largest value 1


@dataclass(frozen=True)
class PatientRatios:
    """Numerators and denominators per patient; implements `medtune.evaluation.metric.PatientStats`.

    Attributes:
        sums: (patients, 2) numerators and denominators by name of the ratio.
    """

    sums: Mapping[str, Floats]

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(next(iter(self.sums.values())))

    @property
    def width(self) -> int:
        """Number of ratios."""
        return len(self.sums)

    def weighted(self, weights: Floats) -> dict[str, Floats]:
        """Return (R,) ratios by name, one for each row of `weights` (R, patients); NaN if undefined."""
        totals = {name: weights @ sums for name, sums in self.sums.items()}
        return {
            name: np.divide(total[:, 0], total[:, 1], out=np.full(len(total), np.nan), where=total[:, 1] > 0)
            for name, total in totals.items()
        }


def sum_by_patient(
    values: npt.NDArray[Any], counted: npt.NDArray[Any], patient_ids: npt.NDArray[Any], equal: bool = False
) -> Floats:
    """Compute the contribution of each patient to the numerator and the denominator of a mean over images.

    Args:
        values: (n,) values of the images.
        counted: (n,) True if the image is part of the mean.
        patient_ids: (n,) patient of each image.
        equal: True to give every patient the same weight, independent of the patient's number of images.

    Returns:
        (patients, 2) numerators and denominators, patients in the order of their sorted ids.
    """
    _, member, images = np.unique(patient_ids, return_inverse=True, return_counts=True)
    weight = np.asarray(counted, np.float64) / (images[member] if equal else 1.0)
    columns = (np.asarray(values, np.float64) * weight, weight)
    return np.stack([np.bincount(member, weights=column, minlength=len(images)) for column in columns], axis=1)


def ratio_intervals(
    sums: Mapping[str, Floats], options: EvaluateParams, highest: Mapping[str, float] = NONE
) -> dict[str, Interval]:
    """Compute ratios with their confidence intervals over patients.

    Args:
        sums: (patients, 2) numerators and denominators by name.
        options: section `evaluate` of the params.
        highest: largest possible value by name, 1 by default. The smallest is 0.

    Returns:
        Intervals by name.
    """
    metrics = [_metric(name, highest.get(name, 1.0)) for name in sums]
    return intervals(metrics, PatientRatios(sums), options.confidence)


def _metric(name: str, highest: float) -> Metric:
    def sample_size(stats: PatientRatios) -> int:
        return int((stats.sums[name][:, 1] > 0).sum())

    return Metric(
        name, name, "max", lambda ratios: ratios[name], bounds=(0.0, highest), sample_size=sample_size, size_power=0
    )
