"""Is one method better than another? Paired jackknife over patients, with Holm's correction.

Both methods are scored without the same test patients each time; the difference is averaged over the seeds that both
have. Interval and p-value are Student's t (`medtune.evaluation.intervals`).

Against a reference fixed beforehand the corrected test keeps its level. Against the best, which the same figures
pick, it does not: among twenty equal methods one separates from the best far more often than it should.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from medtune.benchmark.report.metric_cube import MetricCube
from medtune.evaluation.intervals import difference_interval
from medtune.evaluation.metric import Floats
from medtune.evaluation.significance import detectable, p_value


@dataclass(frozen=True)
class PairedDifference:
    """A method against a reference.

    Attributes:
        method, reference: indices into the block's methods.
        difference: of the metric, method less reference, mean over the seeds both have.
        lo, hi: confidence interval of the difference, not corrected; NaN if there is no interval.
        p: two-sided; NaN where there are too few patients.
        adjusted: p after Holm's correction over the methods compared with the reference; NaN where p is.
        seeds: how many seeds both have.
        n_agreeing_seeds: in how many of them the difference has the sign of the mean.
        detectable: difference that as many test patients, which vary as much, show in four of five cases, without
            correction; NaN if there is no interval.
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
        """True where the corrected p-value is below `alpha`."""
        return bool(self.adjusted < alpha)


def paired_differences(
    cube: MetricCube, reference: int, percent: int, confidence: float
) -> dict[int, PairedDifference]:
    """Every other method against one, at one percent, by method; those without a common seed are left out.

    Args:
        cube: the figures.
        reference: index of the method compared with.
        percent: index of the percent.
        confidence: coverage of the intervals, 0..1.
    """
    have = cube.is_available[:, percent]
    found = []
    for method in range(len(cube.methods)):
        both = have[method] & have[reference]
        if method == reference or not both.any():
            continue
        by_seed = (cube.value[method, percent] - cube.value[reference, percent])[both]
        difference = float(by_seed.mean())
        agree = int((np.sign(by_seed) == np.sign(difference)).sum())
        plain = PairedDifference(method, reference, difference, np.nan, np.nan, np.nan, np.nan, len(by_seed), agree)
        if cube.design:
            left = (cube.left[method, percent, both] - cube.left[reference, percent, both]).mean(axis=0)
            between = difference_interval(cube.metric_of_task, difference, left, cube.design, cube.rests_on, confidence)
            if between.lo is not None and between.hi is not None:
                p = p_value(cube.metric_of_task, difference, left, cube.design, cube.rests_on)
                least = detectable(cube.metric_of_task, left, cube.design, cube.rests_on, confidence)
                plain = replace(plain, lo=between.lo, hi=between.hi, p=p, detectable=np.nan if least is None else least)
        found.append(plain)
    adjusted = holm([paired.p for paired in found])
    return {paired.method: replace(paired, adjusted=float(p)) for paired, p in zip(found, adjusted, strict=True)}


def holm(p: Iterable[float]) -> Floats:
    """P-values adjusted for testing them all (Holm 1979); NaN stays NaN and does not count as a test."""
    values = np.array(list(p), np.float64)
    adjusted = np.full(len(values), np.nan)
    order = np.argsort(values, kind="stable")[: np.count_nonzero(~np.isnan(values))]
    stepped = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted
