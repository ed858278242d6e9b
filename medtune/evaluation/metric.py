"""The class `Metric`, and functions that compute metrics.

A metric is computed from sums over the images of each patient (`PatientStats`). A weighting assigns a weight to each
patient. Confidence intervals use weightings in which some patients have weight 0.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class PatientStats(Protocol):
    """Statistics of a set of images, summed per patient, from which all metrics are computed.

    Intervals use two optional attributes. `strata` (n_patients,) is the class index of each patient whose images have a
    single class. Other patients have the number of classes instead. `sizes` (n_patients,) is the number of images per
    patient.
    """

    @property
    def n_patients(self) -> int:
        """Number of patients."""

    @property
    def width(self) -> int:
        """Number of values that `weighted` computes per weighting. It limits the number of weightings per call."""

    def weighted(self, weights: Floats) -> Any:
        """Compute the statistics with each patient counted `weights` times.

        Args:
            weights: (R, n_patients) weights of the patients, one row for each of R weightings.

        Returns:
            The argument of `Metric.formula`. Results that several formulas share are cached properties of this object.
        """


UNBOUNDED = (-np.inf, np.inf)
SIZE_POWER = 1.5  # default of `Metric.size_power`


def always(stats: Any) -> bool:
    """Return True: the metric is defined for every set of images."""
    return True


def all_patients(stats: PatientStats) -> int:
    """Return the number of patients."""
    return stats.n_patients


@dataclass(frozen=True)
class Metric:
    """A metric of a task. Every list of metrics in the code is derived from these objects.

    Attributes:
        name: key in metrics.json, params.yaml and W&B.
        title: name in reports, for example "balanced accuracy".
        direction: `max` if higher is better, `min` if lower is better, `target` if `target` is the best value. Models
            are not compared by metrics with a target.
        formula: function from the result of `PatientStats.weighted` to (R,) values, one per weighting; NaN if
            undefined.
        order: position in tables, lowest first.
        each_epoch: True if the metric is computed on validation after every epoch. `monitor` may then name the metric.
        headline: True if the one-line summary of an evaluation shows the metric.
        defined: function from statistics to True if the metric applies to these images.
        of_positive: True if the metric describes the positive class of two classes.
        bounds: lowest and highest possible value. With two finite bounds, the interval is computed on the logit scale.
        sample_size: function from statistics to the number of patients the metric depends on. For sensitivity, these
            are the patients of the positive class. The number limits the degrees of freedom and determines the interval
            of a value at a bound.
        bounds_of: function from statistics to narrower bounds, which replace `bounds` on the scale of the interval.
            None keeps `bounds`.
        skewed: True if the interval corrects for the skewness of the values of patients (Hall 1992).
        min_patients: smallest number of patients for an interval. With fewer patients, the coverage of 95 % intervals
            in simulations is below 93 % or above 97 %.
        size_power: exponent from 0 to 2. The variance of a patient's contribution is assumed to grow with this power
            of the patient's number of images. Patients with unequal variances give fewer degrees of freedom. The
            exponent 1 is correct for independent images of a patient, 2 for identical images. Ratios within a class
            use 0. Their standard error with few patients is already too large, because leaving out a patient also
            changes the denominator.
        target: best value of a metric whose direction is `target`.
        no_interval: reason why the metric has no interval, if its simulated coverage is poor.
    """

    name: str
    title: str
    direction: Literal["max", "min", "target"]
    formula: Callable[[Any], Floats]
    order: int = 1000
    each_epoch: bool = False
    headline: bool = False
    defined: Callable[[Any], bool] = always
    of_positive: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)
    sample_size: Callable[[Any], float] = all_patients
    bounds_of: Callable[[Any], tuple[float, float]] | None = None
    skewed: bool = False
    min_patients: int = 1
    size_power: float = SIZE_POWER
    target: float = 0.0
    no_interval: str | None = None

    @property
    def sign(self) -> int:
        """Sign of an improvement: 1 if higher is better, otherwise -1."""
        return 1 if self.direction == "max" else -1

    def positive_note(self, positive: str | None) -> str:
        """Return the suffix of the title, such as " (positive: malignant)"; empty without a positive class."""
        return f" (positive: {positive})" if self.of_positive and positive is not None else ""


def sort_metrics(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Sort metrics for tables, by `order` and then by name."""
    return tuple(sorted(metrics, key=lambda metric: (metric.order, metric.name)))


def compute(metrics: Iterable[Metric], stats: PatientStats, weights: Floats | None = None) -> dict[str, Floats]:
    """Compute metrics of a set of images, re-weighted by patient.

    Args:
        metrics: metrics to compute.
        stats: statistics of the images.
        weights: (R, n_patients) weights of the patients; None for a single weighting with equal weights.

    Returns:
        (R,) values by name, NaN if undefined. Metrics that are not defined for `stats` are left out.
    """
    weighted = stats.weighted(np.ones((1, stats.n_patients)) if weights is None else weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {metric.name: metric.formula(weighted) for metric in metrics if metric.defined(stats)}


def values(metrics: Iterable[Metric], stats: PatientStats) -> dict[str, float | None]:
    """Compute metrics of a set of images as JSON values by name; None if undefined."""
    return {name: nan_to_none(value[0]) for name, value in compute(metrics, stats).items()}


def nan_to_none(value: float) -> float | None:
    """Return `value` as a JSON value: None if it is NaN."""
    return None if np.isnan(value) else float(value)
