"""Significance of a difference between two models: p-value and smallest detectable difference."""

import numpy as np

from medtune.evaluation.intervals import MIN_PATIENTS, insufficient
from medtune.evaluation.jackknife import Jackknife, jackknife
from medtune.evaluation.metric import Floats, Metric, PatientStats

ZERO = 1e-10  # smaller standard errors count as 0


def p_value(metric: Metric, value: float, leave_out_differences: Floats, design: Jackknife, n_patients: float) -> float:
    """Compute the two-sided p-value of "no difference" from the t-distribution.

    Args:
        metric: compared metric.
        value: difference for the full sample.
        leave_out_differences: (G,) the difference recomputed G times, each time without one group of `design`.
        design: jackknife design, which states the patients that are left out together.
        n_patients: number of patients that the metric depends on.

    Returns:
        The p-value, 0..1. It is 1 if leaving out a patient never changes the difference. It is NaN if the difference is
        undefined, or if there are too few patients for a confidence interval.
    """
    from scipy.stats import t

    if np.isnan(value) or np.isnan(leave_out_differences).any() or insufficient(metric, n_patients):
        return float("nan")
    error, degrees = design.spread(leave_out_differences, n_patients, metric.size_power)
    if error <= ZERO:
        return 1.0
    return float(2 * t.sf(abs(value) / error, degrees))


def detectable_difference(
    metric: Metric, first: PatientStats, second: PatientStats, confidence: float = 0.95, power: float = 0.8
) -> float | None:
    """Compute the true difference that a new test set of the same size and composition detects at a given power.

    A difference is detected if its interval excludes 0. A true difference of the returned size is detected with the
    probability `power`. Smaller differences are detected less often.

    Args:
        metric: compared metric.
        first: statistics of the first set of predictions.
        second: statistics of the second set, with the same patients in the same order.
        confidence: coverage of the interval that must exclude 0, 0..1.
        power: statistical power, 0..1.

    Returns:
        The difference; None if it has no interval or does not vary.
    """
    if first.n_patients < MIN_PATIENTS:
        return None
    design = jackknife(first)
    left_out = [design.leave_out([metric], stats)[metric.name] for stats in (first, second)]
    differences = left_out[0] - left_out[1]
    return detectable_from_jackknife(metric, differences, design, metric.sample_size(first), confidence, power)


def detectable_from_jackknife(
    metric: Metric,
    leave_out_differences: Floats,
    design: Jackknife,
    n_patients: float,
    confidence: float = 0.95,
    power: float = 0.8,
) -> float | None:
    """Compute the result of `detectable_difference` from leave-out differences.

    Args:
        metric: compared metric.
        leave_out_differences: (G,) the difference recomputed G times, each time without one group of `design`.
        design: jackknife design, which states the patients that are left out together.
        n_patients: number of patients that the metric depends on.
        confidence: coverage of the interval that must exclude 0, 0..1.
        power: statistical power, 0..1.

    Returns:
        The difference; None if there is no interval, or if the difference does not vary.
    """
    from scipy.stats import t

    if np.isnan(leave_out_differences).any() or insufficient(metric, n_patients):
        return None
    error, degrees = design.spread(leave_out_differences, n_patients, metric.size_power)
    return float((t.ppf(0.5 + confidence / 2, degrees) + t.ppf(power, degrees)) * error) if error > ZERO else None
