"""What a difference of two models says: its p-value, and which difference so many patients can show."""

import numpy as np

from medtune.evaluation.intervals import MIN_PATIENTS, insufficient
from medtune.evaluation.jackknife import Jackknife, jackknife
from medtune.evaluation.metric import Floats, Metric, PatientStats

ZERO = 1e-10


def p_value(metric: Metric, value: float, left: Floats, design: Jackknife, n_patients: float) -> float:
    """Two-sided p-value of "no difference" by the t-distribution; 1 where no patient tells the two apart.

    Args:
        metric: which is compared.
        value: difference on the whole set.
        left: (G,) difference without each group of `design`.
        design: which patients were left out together.
        n_patients: patients that the metric rests on.

    Returns:
        0..1; NaN where there is no interval.
    """
    from scipy.stats import t

    if np.isnan(value) or np.isnan(left).any() or insufficient(metric, n_patients):
        return float("nan")
    error, degrees = design.spread(left, n_patients, metric.size_power)
    if error <= ZERO:
        return 1.0
    return float(2 * t.sf(abs(value) / error, degrees))


def detectable_difference(
    metric: Metric, first: PatientStats, second: PatientStats, confidence: float = 0.95, power: float = 0.8
) -> float | None:
    """Difference whose interval excludes 0 in a share `power` of sets with as many patients that vary as much.

    Arguments as in `paired_interval`. None where there is no interval.
    """
    if first.n_patients < MIN_PATIENTS:
        return None
    design = jackknife(first)
    left = [design.leave_out([metric], stats)[metric.name] for stats in (first, second)]
    return detectable(metric, left[0] - left[1], design, metric.rests_on(first), confidence, power)


def detectable(
    metric: Metric,
    left: Floats,
    design: Jackknife,
    n_patients: float,
    confidence: float = 0.95,
    power: float = 0.8,
) -> float | None:
    """Difference that is shown in a share `power` of sets with as many patients that vary as much.

    Args:
        metric: which is compared.
        left: (G,) the difference without each group of `design`.
        design: which patients are left out together.
        n_patients: patients that the metric rests on.
        confidence: coverage of the interval that must exclude 0.
        power: 0..1.

    Returns:
        The difference; None if there is no interval, or the difference does not vary.
    """
    from scipy.stats import t

    if np.isnan(left).any() or insufficient(metric, n_patients):
        return None
    error, degrees = design.spread(left, n_patients, metric.size_power)
    return float((t.ppf(0.5 + confidence / 2, degrees) + t.ppf(power, degrees)) * error) if error > ZERO else None
