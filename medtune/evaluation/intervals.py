"""Confidence intervals over patients, from a jackknife and Student's t-distribution.

The jackknife recomputes a metric without each patient (`medtune.evaluation.jackknife`). Metrics with two bounds use the
logit scale. The interval then stays within the bounds and has a realistic skew for values near a bound. Calibration
metrics are more skewed, so their t statistic is also transformed (Hall 1992). A recomputed value at a bound has an
infinite logit. The value is therefore moved away from the bound, by the fraction `AT_BOUND` of the distance to the
full-sample value.

Some metrics do not vary between the patients of a sample, for example at a sensitivity of 1. Patients outside the
sample may still differ. Let n be the number of patients and alpha be 1 minus the confidence. At most the fraction
1 - (alpha / 2)^(1 / n) of all patients probably differs. Otherwise the sample would include such a patient (Clopper and
Pearson 1934). The interval ends at the values of the metric if this fraction of patients had the worst or
the best value. No interval therefore has width zero.

docs/statistics.md reports the coverage of the intervals in simulations. The trained network is held fixed. An interval
describes the variation between samples of patients, not between training runs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medtune.evaluation.jackknife import Jackknife, jackknife
from medtune.evaluation.metric import Floats, Metric, PatientStats, compute, nan_to_none

# Fewer patients give no usable interval.
MIN_PATIENTS = 5
# With fewer patients of a class, reports note that the intervals are based on few patients.
FEW_PATIENTS = 10
AT_BOUND = 0.2
_EPS = 1e-10  # smaller distances count as 0
# A smaller skewness has no effect on the interval.
MIN_SKEWNESS = 1e-6
UNDEFINED = "undefined: no image has a class that the metric needs"


@dataclass(frozen=True)
class Interval:
    """Metric, or difference of two metrics, with its confidence interval over patients.

    Attributes:
        value: value for the full sample; None if undefined.
        lo: lower end, below `hi`; None if there is no interval.
        hi: upper end; None if there is no interval.
        reason: reason why there is no interval; None if there is one.
    """

    value: float | None
    lo: float | None
    hi: float | None
    reason: str | None = None

    def as_dict(self) -> dict[str, float | str | None]:
        """Convert to JSON values for metrics.json; `reason` is included only if it is set."""
        entry = asdict(self)
        return entry if self.reason else {name: entry[name] for name in ("value", "lo", "hi")}


def intervals(metrics: Sequence[Metric], stats: PatientStats, confidence: float = 0.95) -> dict[str, Interval]:
    """Compute metrics with their confidence intervals over patients.

    Args:
        metrics: metrics to compute.
        stats: statistics of the images.
        confidence: nominal coverage, 0..1.

    Returns:
        Intervals by name, without metrics that are not defined for `stats`.
    """
    full = {name: float(value[0]) for name, value in compute(metrics, stats).items()}
    if stats.n_patients < MIN_PATIENTS:
        return {name: _no_interval(value, too_few(stats.n_patients)) for name, value in full.items()}
    design = jackknife(stats)
    left = design.leave_out(metrics, stats)
    return {
        metric.name: metric_interval(
            metric,
            full[metric.name],
            left[metric.name],
            design,
            metric.sample_size(stats),
            confidence,
            metric.bounds_of(stats) if metric.bounds_of else None,
        )
        for metric in metrics
        if metric.name in full
    }


def paired_interval(
    metrics: Sequence[Metric], first: PatientStats, second: PatientStats, confidence: float = 0.95
) -> dict[str, Interval]:
    """Compute the difference between two sets of predictions for the same images, `first` minus `second`.

    Each patient is left out of both sets at the same time. Variation that both sets share therefore cancels.

    Args:
        metrics: metrics to compare.
        first: statistics of the first set of predictions.
        second: statistics of the second set, with the same patients in the same order.
        confidence: nominal coverage, 0..1.

    Returns:
        Intervals of the difference by name, without metrics that are not defined for the images.

    Raises:
        ValueError: the numbers of patients or images differ.
    """
    if (first.n_patients, first.width) != (second.n_patients, second.width):
        raise ValueError(
            f"{first.n_patients} patients with {first.width} images cannot be paired with "
            f"{second.n_patients} patients with {second.width} images"
        )
    full = [compute(metrics, stats) for stats in (first, second)]
    differences = {name: float((full[0][name] - full[1][name])[0]) for name in full[0]}
    if first.n_patients < MIN_PATIENTS:
        return {name: _no_interval(value, too_few(first.n_patients)) for name, value in differences.items()}
    design = jackknife(first)
    left = [design.leave_out(metrics, stats) for stats in (first, second)]
    return {
        metric.name: difference_interval(
            metric,
            differences[metric.name],
            left[0][metric.name] - left[1][metric.name],
            design,
            metric.sample_size(first),
            confidence,
        )
        for metric in metrics
        if metric.name in differences
    }


def metric_interval(
    metric: Metric,
    value: float,
    left: Floats,
    design: Jackknife,
    n_patients: float,
    confidence: float,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Compute the interval of one metric.

    Args:
        metric: metric, which determines the scale.
        value: value for the full sample, NaN if undefined.
        left: (G,) values without each of the G groups of `design`, NaN if undefined.
        design: jackknife design, which states the patients that are left out together.
        n_patients: number of patients that the metric depends on.
        confidence: nominal coverage, 0..1.
        bounds: narrower bounds than those of the metric; None for those of the metric.

    Returns:
        The interval, or the value with the reason why there is no interval.
    """
    if reason := _missing(value, left) or metric.no_interval or insufficient(metric, n_patients):
        return _no_interval(value, reason)
    low, high = bounds or metric.bounds
    if np.isfinite(low) and np.isfinite(high):
        scaled = (value - low) / (high - low)
        scaled_left = np.clip((left - low) / (high - low), AT_BOUND * scaled, 1 - AT_BOUND * (1 - scaled))
        inside = _EPS < scaled < 1 - _EPS
        ends = (
            _t_ends(metric, _logit(scaled), _logit(scaled_left), design, n_patients, confidence, metric.skewed)
            if inside
            else None
        )
        scaled_ends = _unseen(scaled, (0.0, 1.0), n_patients, confidence) if ends is None else _expit(np.array(ends))
        lo, hi = (float(low + (high - low) * end) for end in scaled_ends)
        return Interval(value, min(lo, value), max(hi, value))
    ends = _t_ends(metric, value, left, design, n_patients, confidence, metric.skewed)
    if ends is None:
        return _no_interval(value, "the metric does not change if any patient is left out, so its variation is unknown")
    return Interval(value, max(ends[0], low), min(ends[1], high))


def difference_interval(
    metric: Metric,
    value: float,
    left: Floats,
    design: Jackknife,
    n_patients: float,
    confidence: float,
    comparisons: int = 1,
) -> Interval:
    """Compute the interval of a difference between two values of a metric.

    Args:
        metric: metric, which determines the bounds.
        value: difference for the full sample, NaN if undefined.
        left: (G,) differences without each of the G groups of `design`, NaN if undefined.
        design: jackknife design, which states the patients that are left out together.
        n_patients: number of patients that the metric depends on.
        confidence: nominal coverage, 0..1.
        comparisons: number of differences whose intervals hold simultaneously (Bonferroni).

    Returns:
        The interval, or the difference with the reason why there is no interval.
    """
    if reason := _missing(value, left) or metric.no_interval or insufficient(metric, n_patients):
        return _no_interval(value, reason)
    confidence = 1 - (1 - confidence) / comparisons
    extent = metric.bounds[1] - metric.bounds[0]
    ends = _t_ends(metric, value, left, design, n_patients, confidence)
    if ends is None:
        if not np.isfinite(extent):
            return _no_interval(
                value, "the difference does not change if any patient is left out, so its variation is unknown"
            )
        ends = _unseen(value, (-extent, extent), n_patients, confidence)
    return Interval(value, max(ends[0], -extent), min(ends[1], extent))


def too_few(n_patients: int) -> str:
    """Return the reason why so few patients have no interval."""
    return f"{n_patients} patient{'' if n_patients == 1 else 's'}, but an interval needs {MIN_PATIENTS}"


def insufficient(metric: Metric, n_patients: float) -> str | None:
    """Return the reason why a metric has too few patients for an interval; None if it has enough."""
    if n_patients >= metric.min_patients:
        return None
    counted = f"{n_patients:.3g} patient{'' if n_patients == 1 else 's'}"
    return f"the metric depends on {counted}, but its interval needs {metric.min_patients}"


def _t_ends(
    metric: Metric,
    value: float,
    left: Floats,
    design: Jackknife,
    n_patients: float,
    confidence: float,
    skewed: bool = False,
) -> tuple[float, float] | None:
    """Compute the ends on the scale of `value`; None if leaving out a patient never changes the value."""
    from scipy.stats import t

    error, degrees = design.spread(left, n_patients, metric.size_power)
    if error <= _EPS * max(1.0, abs(value)):
        return None
    width = float(t.ppf(0.5 + confidence / 2, degrees)) * error
    skewness = design.skewness(left) if skewed else 0.0
    return value - _unskew(width, error, skewness), value - _unskew(-width, error, skewness)


def _unskew(width: float, error: float, skewness: float) -> float:
    """Return the distance at which Hall's (1992) cubic transformation of a skewed t statistic reaches `width`."""
    if abs(skewness) < MIN_SKEWNESS:
        return width
    return float(3 * error * (np.cbrt(1 + skewness * (width / error - skewness / 6)) - 1) / skewness)


def _unseen(value: float, bounds: tuple[float, float], n_patients: float, confidence: float) -> tuple[float, float]:
    """Compute the ends for a value that does not change if any patient is left out.

    The sample may lack a small fraction of patients that differ (see the module's docstring). An end is the value that
    results if all these patients are at one of the bounds.

    Args:
        value: value within `bounds`.
        bounds: lowest and highest possible value.
        n_patients: number of patients that the value depends on.
        confidence: nominal coverage, 0..1.

    Returns:
        Lower and upper end.
    """
    fraction = 1 - ((1 - confidence) / 2) ** (1 / max(n_patients, 1))
    return value - fraction * (value - bounds[0]), value + fraction * (bounds[1] - value)


def _missing(value: float, left: Floats) -> str | None:
    if np.isnan(value):
        return UNDEFINED
    undefined = int(np.isnan(left).sum())
    if undefined:
        return f"number of patients without whom the metric is undefined: {undefined}"
    return None


def _no_interval(value: float, reason: str) -> Interval:
    return Interval(nan_to_none(value), None, None, UNDEFINED if np.isnan(value) else reason)


def _logit(probability: Any) -> Any:
    return np.log(probability) - np.log1p(-probability)


def _expit(value: Floats) -> Floats:
    return 1 / (1 + np.exp(-value))
