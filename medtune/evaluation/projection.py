"""Number of additional patients that would halve an interval.

More patients make a metric more precise, not better. The recall of a class depends on the n patients with images of
this class. The width of the interval is proportional to t(n - 1) / sqrt(n) on the logit scale. Here t(n - 1) is the
quantile of Student's t-distribution with n - 1 degrees of freedom. The result assumes that new patients vary like the
present patients and that the recall does not change.
"""

import numpy as np
import numpy.typing as npt

from medtune.evaluation.metric import Floats

ASSUMPTION = (
    "The width of an interval is proportional to t(n - 1) / sqrt(n) for the n patients with images of the class, if "
    "new patients vary like the present ones. More patients make the metrics more precise, not better."
)


def patients_to_halve(n_patients: int, confidence: float = 0.95) -> int:
    """Compute the number of additional patients that halve an interval over `n_patients`, which is at least 2."""
    from scipy.stats import t

    def width(n: int) -> float:
        return float(t.ppf(0.5 + confidence / 2, n - 1) / np.sqrt(n))

    target, low, high = width(n_patients) / 2, n_patients, 4 * n_patients  # four times as many always suffice
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if width(middle) <= target else (middle, high)
    return high - n_patients


def variance_of_ratio(sums: Floats) -> float:
    """Compute the delete-one-patient jackknife variance of a ratio of sums.

    Args:
        sums: (patients, 2) numerators and denominators.

    Returns:
        The variance; NaN if the ratio is undefined without one of the patients.
    """
    n, total = len(sums), sums.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        left: npt.NDArray[np.float64] = (total[0] - sums[:, 0]) / (total[1] - sums[:, 1])
    return float((n - 1) / n * np.sum((left - left.mean()) ** 2))
