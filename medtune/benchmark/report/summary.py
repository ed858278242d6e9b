"""Mean over seeds, confidence interval and rank of each method.

The interval describes the variation between samples of test patients, not the variation between trainings. The
jackknife leaves out the same test patients for all seeds.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.benchmark.report.metric_cube import MetricCube
from medtune.evaluation.intervals import metric_interval
from medtune.evaluation.metric import Floats


@dataclass(frozen=True)
class Summary:
    """Summary of M methods at P percentages of the training patients. Values without results are NaN.

    Attributes:
        mean: (M, P) mean over the available seeds.
        lo: (M, P) lower end of the confidence interval of the mean.
        hi: (M, P) upper end of the confidence interval of the mean.
        spread: (M, P) difference between the highest and the lowest value over the seeds; NaN for one seed.
        seeds: (M, P) number of available seeds.
        rank: (M, P) ranks of the methods at each percentage, 1 is best. Equal methods have the mean of their ranks.
        mean_rank: (M,) mean rank over the percentages with results.
        order: (M,) method indices by mean rank. Methods without results are last.
    """

    mean: Floats
    lo: Floats
    hi: Floats
    spread: Floats
    seeds: npt.NDArray[np.int64]
    rank: Floats
    mean_rank: Floats
    order: npt.NDArray[np.int64]


def summarize(cube: MetricCube, confidence: float) -> Summary:
    """Compute the means, the intervals and the ranks. `confidence` is the coverage of the intervals, 0..1."""
    available = cube.is_available
    seeds = available.sum(axis=2)
    shape = seeds.shape
    mean, lo, hi, spread = (np.full(shape, np.nan) for _ in range(4))
    for index in np.ndindex(shape):
        with_value = available[index]
        if not with_value.any():
            continue
        mean[index] = cube.value[index][with_value].mean()
        if cube.design:
            left = cube.left[index][with_value].mean(axis=0)
            interval = metric_interval(
                cube.metric_of_task, float(mean[index]), left, cube.design, cube.sample_size, confidence
            )
            if interval.lo is not None and interval.hi is not None:
                lo[index], hi[index] = interval.lo, interval.hi
        if seeds[index] > 1:
            spread[index] = np.ptp(cube.value[index][with_value])
    rank = np.stack([ranks(cube.sign * column) for column in mean.T], axis=1)
    ranked = ~np.isnan(rank)
    total = np.where(ranked, rank, 0).sum(axis=1)
    mean_rank = np.divide(total, ranked.sum(axis=1), out=np.full(shape[0], np.nan), where=ranked.any(axis=1))
    return Summary(mean, lo, hi, spread, seeds, rank, mean_rank, np.argsort(mean_rank, kind="stable"))


def ranks(scores: Floats) -> Floats:
    """Return the ranks (n,) of scores (n,), 1 for the highest. Equal scores have the mean of their ranks.

    The rank of NaN is NaN.
    """
    higher = (scores[None, :] > scores[:, None]).sum(axis=1)
    equal = (scores[None, :] == scores[:, None]).sum(axis=1)
    return np.where(np.isnan(scores), np.nan, higher + (equal + 1) / 2)
