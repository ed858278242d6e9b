"""Confidence intervals over patients: delete-one-patient jackknife and Student's t on the scale of the metric.

A metric between two bounds is compared on the logit scale, so that no end leaves the bounds and the interval of a value
near one of them is as skewed as it should be. Calibration metrics are skewed beyond that, and their t is transformed
(Hall 1992). Where a value without a patient is at a bound, whose logit is infinite,
it is put `AT_BOUND` of the whole value's distance from that bound. Where nothing varies between patients, as at a
sensitivity of 1, other patients may still differ: if their share were above 1 - (alpha / 2)^(1 / n), n patients would
show one (Clopper and Pearson 1934). The interval is as wide as that share, at the bounds of the metric, moves the
value: no interval has width zero.

docs/statistics.md has the coverage by simulation. The network is held fixed: an interval says how far other patients
would move the metric, not how far another training run would.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medtune.evaluation.jackknife import Jackknife, jackknife
from medtune.evaluation.metric import Floats, Metric, PatientStats, compute, nan_to_none

# Fewer patients say nothing about others.
MIN_PATIENTS = 5
# Below this many patients of a class, a note says that the intervals rest on few patients.
FEW_PATIENTS = 10
AT_BOUND = 0.2
_EPS = 1e-10
# A skewness below this changes nothing.
SYMMETRIC = 1e-6
UNDEFINED = "undefined: the labels lack a class it needs"


@dataclass(frozen=True)
class Interval:
    """A metric, or a difference of two, with its confidence interval over patients.

    Attributes:
        value: of the whole set; None where undefined.
        lo, hi: ends, lo < hi; None where there is no interval.
        reason: why there is no interval; None where there is one.
    """

    value: float | None
    lo: float | None
    hi: float | None
    reason: str | None = None

    def as_dict(self) -> dict[str, float | str | None]:
        """JSON values for metrics.json: `reason` only where there is one."""
        entry = asdict(self)
        return entry if self.reason else {name: entry[name] for name in ("value", "lo", "hi")}


def intervals(metrics: Sequence[Metric], stats: PatientStats, confidence: float = 0.95) -> dict[str, Interval]:
    """Compute metrics with their confidence intervals over patients.

    Args:
        metrics: those to compute; the ones not defined for `stats` are left out.
        stats: of the set of images.
        confidence: coverage aimed at, 0..1.
    """
    whole = {name: float(value[0]) for name, value in compute(metrics, stats).items()}
    if stats.n_patients < MIN_PATIENTS:
        return {name: _without(value, too_few(stats.n_patients)) for name, value in whole.items()}
    design = jackknife(stats)
    left = design.leave_out(metrics, stats)
    return {
        metric.name: metric_interval(
            metric,
            whole[metric.name],
            left[metric.name],
            design,
            metric.rests_on(stats),
            confidence,
            metric.bounds_of(stats) if metric.bounds_of else None,
        )
        for metric in metrics
        if metric.name in whole
    }


def paired_interval(
    metrics: Sequence[Metric], first: PatientStats, second: PatientStats, confidence: float = 0.95
) -> dict[str, Interval]:
    """Compute the difference of two sets of predictions for the same images: `first` less `second`, by metric.

    Both are scored without the same patient each time, so that what they share cancels out.

    Args:
        metrics: those to compare; the ones not defined for the images are left out.
        first, second: statistics of the two sets of predictions, of the same patients in the same order.
        confidence: coverage aimed at, 0..1.

    Raises:
        ValueError: the statistics are of different numbers of patients or images.
    """
    if (first.n_patients, first.width) != (second.n_patients, second.width):
        raise ValueError(
            f"{first.n_patients} patients with {first.width} images, and {second.n_patients} with {second.width}: "
            "these cannot be paired"
        )
    whole = [compute(metrics, stats) for stats in (first, second)]
    value = {name: float((whole[0][name] - whole[1][name])[0]) for name in whole[0]}
    if first.n_patients < MIN_PATIENTS:
        return {name: _without(one, too_few(first.n_patients)) for name, one in value.items()}
    design = jackknife(first)
    left = [design.leave_out(metrics, stats) for stats in (first, second)]
    return {
        metric.name: difference_interval(
            metric,
            value[metric.name],
            left[0][metric.name] - left[1][metric.name],
            design,
            metric.rests_on(first),
            confidence,
        )
        for metric in metrics
        if metric.name in value
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
    """Interval of one metric.

    Args:
        metric: which has its scale.
        value: of the whole set, NaN where undefined.
        left: (G,) without each group of `design`, NaN where undefined.
        design: which patients were left out together.
        n_patients: patients that the metric rests on.
        confidence: coverage aimed at, 0..1.
        bounds: narrower ones than the metric's.
    """
    if reason := _missing(value, left) or metric.no_interval or insufficient(metric, n_patients):
        return _without(value, reason)
    low, high = bounds or metric.bounds
    if np.isfinite(low) and np.isfinite(high):
        share = (value - low) / (high - low)
        shares = np.clip((left - low) / (high - low), AT_BOUND * share, 1 - AT_BOUND * (1 - share))
        inside = _EPS < share < 1 - _EPS
        ends = (
            _t_ends(metric, _logit(share), _logit(shares), design, n_patients, confidence, metric.skewed)
            if inside
            else None
        )
        unit = _unseen(share, (0.0, 1.0), n_patients, confidence) if ends is None else _expit(np.array(ends))
        lo, hi = (float(low + (high - low) * end) for end in unit)
        return Interval(value, min(lo, value), max(hi, value))
    ends = _t_ends(metric, value, left, design, n_patients, confidence, metric.skewed)
    if ends is None:
        return _without(value, "it is the same without each patient: nothing says how far others would move it")
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
    """Interval of a difference of two values of a metric.

    Args:
        metric: which has its bounds.
        value: difference on the whole set, NaN where undefined.
        left: (G,) difference without each group of `design`, NaN where undefined.
        design: which patients were left out together.
        n_patients: patients that the metric rests on.
        confidence: coverage aimed at, 0..1.
        comparisons: differences whose intervals are to hold at once (Bonferroni).
    """
    if reason := _missing(value, left) or metric.no_interval or insufficient(metric, n_patients):
        return _without(value, reason)
    confidence = 1 - (1 - confidence) / comparisons
    extent = metric.bounds[1] - metric.bounds[0]
    ends = _t_ends(metric, value, left, design, n_patients, confidence)
    if ends is None:
        if not np.isfinite(extent):
            return _without(value, "no patient tells the two apart: nothing says how far others would")
        ends = _unseen(value, (-extent, extent), n_patients, confidence)
    return Interval(value, max(ends[0], -extent), min(ends[1], extent))


def too_few(n_patients: int) -> str:
    """Why there is no interval."""
    return f"{n_patients} patient{'' if n_patients == 1 else 's'}: an interval needs {MIN_PATIENTS}"


def insufficient(metric: Metric, n_patients: float) -> str | None:
    """Return why a metric that rests on so many patients has no interval; None where it has one."""
    if n_patients >= metric.min_patients:
        return None
    counted = f"{n_patients:.3g} patient{'' if n_patients == 1 else 's'}"
    return f"it rests on {counted}: its interval needs {metric.min_patients}"


def _t_ends(
    metric: Metric,
    value: float,
    left: Floats,
    design: Jackknife,
    n_patients: float,
    confidence: float,
    skewed: bool = False,
) -> tuple[float, float] | None:
    """Ends on the scale of `value`; None where it is the same without each patient of a stratum."""
    from scipy.stats import t

    error, degrees = design.spread(left, n_patients, metric.size_power)
    if error <= _EPS * max(1.0, abs(value)):
        return None
    width = float(t.ppf(0.5 + confidence / 2, degrees)) * error
    skewness = design.skewness(left) if skewed else 0.0
    return value - _unskew(width, error, skewness), value - _unskew(-width, error, skewness)


def _unskew(width: float, error: float, skewness: float) -> float:
    """Distance at which Hall's (1992) cubic transformation of a skewed t reaches `width`."""
    if abs(skewness) < SYMMETRIC:
        return width
    return float(3 * error * (np.cbrt(1 + skewness * (width / error - skewness / 6)) - 1) / skewness)


def _unseen(value: float, bounds: tuple[float, float], n_patients: float, confidence: float) -> tuple[float, float]:
    """Ends of a value that is the same without each patient: those whom `n_patients` may not show move it.

    Args:
        value: within `bounds`.
        bounds: lowest and highest possible value.
        n_patients: that the value rests on.
        confidence: coverage aimed at, 0..1.
    """
    share = 1 - ((1 - confidence) / 2) ** (1 / max(n_patients, 1))
    return value - share * (value - bounds[0]), value + share * (bounds[1] - value)


def _missing(value: float, left: Floats) -> str | None:
    if np.isnan(value):
        return UNDEFINED
    undefined = int(np.isnan(left).sum())
    if undefined:
        each = "that one" if undefined == 1 else "each of them"
        return f"undefined without {undefined} of the patients: it rests on {each}"
    return None


def _without(value: float, reason: str) -> Interval:
    return Interval(nan_to_none(value), None, None, UNDEFINED if np.isnan(value) else reason)


def _logit(share: Any) -> Any:
    return np.log(share) - np.log1p(-share)


def _expit(value: Floats) -> Floats:
    return 1 / (1 + np.exp(-value))
