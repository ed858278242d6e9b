"""How many more patients would halve an interval: the precision that more data buy, not the accuracy.

The recall of a class rests on the patients with images of that class. Its interval is proportional to
t(n - 1) / sqrt(n) for n of them (on the logit scale, which halves alike near the middle of the range). This assumes
that new patients vary as the present ones and that the recall stays the same.
"""

import numpy as np
import numpy.typing as npt

from medtune.evaluation.metric import Floats

ASSUMPTION = (
    "An interval is proportional to t(n - 1) / sqrt(n) for the n patients with images of the class, if new patients "
    "vary as the present ones. This is about precision: it does not say that the metrics would improve."
)


def patients_to_halve(n_patients: int, confidence: float = 0.95) -> int:
    """Compute how many patients more would halve an interval over `n_patients`, at least 2 of them."""
    from scipy.stats import t

    def width(n: int) -> float:
        return float(t.ppf(0.5 + confidence / 2, n - 1) / np.sqrt(n))

    wanted, low, high = width(n_patients) / 2, n_patients, 4 * n_patients  # four times as many always suffice
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if width(middle) <= wanted else (middle, high)
    return high - n_patients


def variance_of_ratio(sums: Floats) -> float:
    """Delete-one-patient jackknife variance of a ratio of sums.

    Args:
        sums: (patients, 2) numerators and denominators.

    Returns:
        NaN where the ratio is undefined without a patient.
    """
    n, total = len(sums), sums.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        left: npt.NDArray[np.float64] = (total[0] - sums[:, 0]) / (total[1] - sums[:, 1])
    return float((n - 1) / n * np.sum((left - left.mean()) ** 2))
