"""Is one method better than another? Paired bootstrap over patients, with Holm's correction.

Both methods are scored on the same resamples of the same test patients; the difference is averaged over the
seeds that both have. The two-sided p-value inverts the percentile interval,
p = 2 (k + 1) / (n + 1) with k the resamples of n that fall on the rarer side of zero (Davison and Hinkley 1997, 4.2).

It is never put below 2 / 2^g for g patients: exchanging the two methods' predictions patient by patient has 2^g
outcomes, so no exact test of g patients can give less, while a bootstrap of five patients who all agree would.

Against a reference fixed beforehand the corrected test keeps its level. Against the best, which the same figures
pick, it does not: among twenty equal methods one separates from the best far more often than it should.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from medtune.benchmark.report.metric_cube import MetricCube
from medtune.benchmark.report.summary import mean_interval
from medtune.evaluation.metric import Floats

ROUNDING = 1e-12  # differences this small are none: sums in another order give as much


@dataclass(frozen=True)
class PairedDifference:
    """A method against a reference.

    Attributes:
        method, reference: indices into the block's methods.
        difference: of the metric, method less reference, mean over the seeds both have.
        lo, hi: percentile interval of the difference, not corrected; NaN where there is none.
        p: two-sided; NaN where nothing could be resampled.
        adjusted: p after Holm's correction over the methods compared with the reference; NaN where p is.
        seeds: how many seeds both have.
        n_agreeing_seeds: in how many of them the difference has the sign of the mean.
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
        drawn = (cube.bootstrap[method, percent, both] - cube.bootstrap[reference, percent, both]).mean(axis=0)
        difference = float(by_seed.mean())
        agree = int((np.sign(by_seed) == np.sign(difference)).sum())
        plain = PairedDifference(method, reference, difference, np.nan, np.nan, np.nan, np.nan, len(by_seed), agree)
        between = mean_interval(difference, drawn, confidence)
        if between.lo is not None and between.hi is not None:
            plain = replace(plain, lo=between.lo, hi=between.hi, p=p_value(drawn, cube.n_groups))
        found.append(plain)
    adjusted = holm([paired.p for paired in found])
    return {paired.method: replace(paired, adjusted=float(p)) for paired, p in zip(found, adjusted, strict=True)}


def smallest_corrected_p(cube: MetricCube, tests: int) -> float:
    """The smallest corrected p-value there can be for that many comparisons; 1 where nothing can be resampled."""
    return min(1.0, tests * smallest_p(cube.n_groups, cube.bootstrap.shape[-1])) if cube.bootstrap.size else 1.0


def p_value(drawn: Floats, groups: int) -> float:
    """Two-sided p-value of "no difference" from the difference (R,) in each resample of `groups` patients.

    Resamples in which the metric is undefined (NaN) are left out.
    """
    kept = drawn[~np.isnan(drawn)]
    rarer = min((kept <= ROUNDING).sum(), (kept >= -ROUNDING).sum())
    return min(1.0, max(smallest_p(groups, len(kept)), 2 * (float(rarer) + 1) / (len(kept) + 1)))


def smallest_p(groups: int, replicates: int) -> float:
    """The smallest p-value there can be with that many patients and resamples."""
    return max(2.0 ** (1 - groups), 2 / (replicates + 1))


def holm(p: Iterable[float]) -> Floats:
    """P-values adjusted for testing them all (Holm 1979); NaN stays NaN and does not count as a test."""
    values = np.array(list(p), np.float64)
    adjusted = np.full(len(values), np.nan)
    order = np.argsort(values, kind="stable")[: np.count_nonzero(~np.isnan(values))]
    stepped = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted
