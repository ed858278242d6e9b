"""A metric as one object, computed from additive statistics per patient that resampling can re-weight."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class PatientStats(Protocol):
    """Everything that metrics need of a set of images, summed per patient.

    May have `strata` (n_patients,), the class of each patient that has one class and the number of classes for the
    others, and `sizes` (n_patients,), images of each patient: intervals use them.
    """

    @property
    def n_patients(self) -> int:
        """Number of patients."""

    @property
    def width(self) -> int:
        """Values that `weighted` holds per row of weights; bounds the memory of an interval."""

    def weighted(self, weights: Floats) -> Any:
        """Statistics with each patient counted `weights` (R, n_patients) times: the argument of every formula.

        Intermediate results that several formulas use belong there as cached properties.
        """


UNBOUNDED = (-np.inf, np.inf)
SIZE_POWER = 1.5


def always(stats: Any) -> bool:
    """True: the metric is defined for every set of images."""
    return True


def all_patients(stats: PatientStats) -> int:
    """Return the number of patients."""
    return stats.n_patients


@dataclass(frozen=True)
class Metric:
    """A metric of a task. Every list of metrics in the code is derived from these objects.

    Attributes:
        name: key in metrics.json, params.yaml and W&B.
        title: for people, as in "balanced accuracy".
        direction: `max` where higher is better, `min` where lower is better, `target` where a value between is best:
            models are not compared by such a metric.
        formula: weighted statistics -> (R,) values, one per row of weights; NaN where undefined.
        order: position in tables, lowest first.
        each_epoch: computed on validation after every epoch; `monitor` may name it.
        headline: shown in the one-line summary of an evaluation.
        defined: statistics -> whether the metric applies to this set of images at all.
        of_positive: of two classes, it is about the positive one.
        bounds: lowest and highest possible value; intervals of a metric between two bounds are computed on the logit
            scale, others as they are.
        rests_on: statistics -> number of patients that the metric rests on, as those of the positive class for
            sensitivity; the interval of a value at a bound follows from it.
        bounds_of: statistics -> narrower bounds that follow from the images, for the scale of the interval; None: those
            in `bounds`.
        skewed: values of patients are so skewed that the interval takes it into account (Hall 1992).
        min_patients: of those that it rests on; fewer give no interval, because its coverage by simulation is not 93 to
            97 %.
        size_power: the variance of what a patient contributes grows with this power of the patient's images, 0 to 2;
            the more unequal these variances are, the fewer degrees of freedom there are. 1 would be right if the images
            of a patient were independent, 2 if they were alike. 0 for ratios within a class: their standard error with
            few patients is too large as it is, because leaving a patient out also changes the images they are over.
        target: best value of a metric whose direction is `target`.
        no_interval: why it has no interval, where its coverage by simulation is not what it should be.
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
    rests_on: Callable[[Any], float] = all_patients
    bounds_of: Callable[[Any], tuple[float, float]] | None = None
    skewed: bool = False
    min_patients: int = 1
    size_power: float = SIZE_POWER
    target: float = 0.0
    no_interval: str | None = None

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is better."""
        return 1 if self.direction == "max" else -1

    def positive_note(self, positive: str | None) -> str:
        """Text after the metric's name that names the positive class, " (positive: malignant)"; empty where none is."""
        return f" (positive: {positive})" if self.of_positive and positive is not None else ""


def in_order(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Metrics sorted for tables: by `order`, then by name."""
    return tuple(sorted(metrics, key=lambda metric: (metric.order, metric.name)))


def compute(metrics: Iterable[Metric], stats: PatientStats, weights: Floats | None = None) -> dict[str, Floats]:
    """Compute metrics of a set of images, re-weighted by patient.

    Args:
        metrics: those to compute; the ones not defined for `stats` are left out.
        stats: of the set of images.
        weights: (R, n_patients) how often each patient counts; None: once each, R = 1.

    Returns:
        (R,) values by name, NaN where undefined.
    """
    weighted = stats.weighted(np.ones((1, stats.n_patients)) if weights is None else weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {metric.name: metric.formula(weighted) for metric in metrics if metric.defined(stats)}


def values(metrics: Iterable[Metric], stats: PatientStats) -> dict[str, float | None]:
    """Compute metrics of a set of images as JSON values by name; None where undefined."""
    return {name: nan_to_none(value[0]) for name, value in compute(metrics, stats).items()}


def nan_to_none(value: float) -> float | None:
    """Convert to a float that JSON can hold: None for NaN."""
    return None if np.isnan(value) else float(value)
