"""Paired comparison of methods: jackknife over patients with Holm's correction.

Each step of the jackknife leaves out the same test patients for both methods. The difference is averaged over the seeds
that both methods have. The interval and the p-value use Student's t (`medtune.evaluation.intervals`).

The corrected test keeps its significance level if the reference is fixed in advance. If the reference is the best
method, the same data select the reference. Significant differences are then too frequent, for example among twenty
equal methods.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from medtune.benchmark.report.metric_cube import MetricCube
from medtune.evaluation.intervals import difference_interval
from medtune.evaluation.metric import Floats
from medtune.evaluation.significance import detectable_from_jackknife, p_value


@dataclass(frozen=True)
class PairedDifference:
    """Difference between a method and a reference.

    Attributes:
        method: index of the method in the cube.
        reference: index of the reference in the cube.
        difference: metric of the method minus that of the reference, averaged over the common seeds.
        lo: lower end of the uncorrected interval of the difference; NaN if there is no interval.
        hi: upper end of the interval; NaN if there is no interval.
        p: two-sided p-value without correction; NaN if there are too few patients.
        adjusted: p-value after Holm's correction over all methods compared with the reference; NaN if `p` is NaN.
        seeds: number of common seeds.
        n_agreeing_seeds: number of seeds whose difference has the same sign as `difference`.
        detectable: smallest true difference that a test on as many similar patients detects with a power of 80 %,
            without correction; NaN if there is no interval.
    """

    method: int
    reference: int
    difference: float
    lo: float
    hi: float
    p: float
    adjusted: float
    seeds: int
    n_agreeing_seeds: int
    detectable: float = np.nan

    def is_significant(self, alpha: float) -> bool:
        """Return True if the corrected p-value is below `alpha`."""
        return bool(self.adjusted < alpha)


def paired_differences(
    cube: MetricCube, reference: int, percent: int, confidence: float
) -> dict[int, PairedDifference]:
    """Compare all other methods with a reference method at one percentage of the training patients.

    Args:
        cube: metrics of the trials.
        reference: index of the reference method.
        percent: index of the percentage.
        confidence: coverage of the intervals, 0..1.

    Returns:
        Differences by method index, without methods that have no common seed with the reference.
    """
    available = cube.is_available[:, percent]
    differences = []
    for method in range(len(cube.methods)):
        both = available[method] & available[reference]
        if method == reference or not both.any():
            continue
        by_seed = (cube.value[method, percent] - cube.value[reference, percent])[both]
        difference = float(by_seed.mean())
        agree = int((np.sign(by_seed) == np.sign(difference)).sum())
        plain = PairedDifference(method, reference, difference, np.nan, np.nan, np.nan, np.nan, len(by_seed), agree)
        if cube.design:
            left = (cube.left[method, percent, both] - cube.left[reference, percent, both]).mean(axis=0)
            interval = difference_interval(
                cube.metric_of_task, difference, left, cube.design, cube.sample_size, confidence
            )
            if interval.lo is not None and interval.hi is not None:
                p = p_value(cube.metric_of_task, difference, left, cube.design, cube.sample_size)
                smallest = detectable_from_jackknife(
                    cube.metric_of_task, left, cube.design, cube.sample_size, confidence
                )
                plain = replace(
                    plain, lo=interval.lo, hi=interval.hi, p=p, detectable=np.nan if smallest is None else smallest
                )
        differences.append(plain)
    adjusted = holm([paired.p for paired in differences])
    return {paired.method: replace(paired, adjusted=float(p)) for paired, p in zip(differences, adjusted, strict=True)}


def holm(p: Iterable[float]) -> Floats:
    """Adjust p-values for multiple tests (Holm 1979). NaN stays NaN and does not count as a test."""
    values = np.array(list(p), np.float64)
    adjusted = np.full(len(values), np.nan)
    order = np.argsort(values, kind="stable")[: np.count_nonzero(~np.isnan(values))]
    stepped = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted
