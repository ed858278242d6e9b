"""Each method's mean over seeds with its interval, and its rank.

The interval holds the trained networks fixed and leaves out test patients, the same ones for every seed:
it tells how far other patients would move the mean, not how far other seeds would.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.benchmark.report.metric_cube import MetricCube
from medtune.evaluation.intervals import metric_interval
from medtune.evaluation.metric import Floats


@dataclass(frozen=True)
class Summary:
    """Figures of M methods at P percents; NaN where a method has none.

    Attributes:
        mean: (M, P) over the seeds there are.
        lo, hi: (M, P) confidence interval of the mean.
        spread: (M, P) lowest to highest seed; NaN for one seed.
        seeds: (M, P) how many seeds there are.
        rank: (M, P) 1 is best; methods level with each other share the mean of their ranks.
        mean_rank: (M,) over the percents where the method has figures.
        order: (M,) methods by mean rank, those without figures last.
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
    """Means, intervals of coverage `confidence` (0..1) and ranks of a block."""
    have = cube.is_available
    seeds = have.sum(axis=2)
    shape = seeds.shape
    mean, lo, hi, spread = (np.full(shape, np.nan) for _ in range(4))
    for place in np.ndindex(shape):
        mine = have[place]
        if not mine.any():
            continue
        mean[place] = cube.value[place][mine].mean()
        if cube.design:
            left = cube.left[place][mine].mean(axis=0)
            found = metric_interval(
                cube.metric_of_task, float(mean[place]), left, cube.design, cube.rests_on, confidence
            )
            if found.lo is not None and found.hi is not None:
                lo[place], hi[place] = found.lo, found.hi
        if seeds[place] > 1:
            spread[place] = np.ptp(cube.value[place][mine])
    rank = np.stack([ranks(cube.sign * column) for column in mean.T], axis=1)
    ranked = ~np.isnan(rank)
    total = np.where(ranked, rank, 0).sum(axis=1)
    mean_rank = np.divide(total, ranked.sum(axis=1), out=np.full(shape[0], np.nan), where=ranked.any(axis=1))
    return Summary(mean, lo, hi, spread, seeds, rank, mean_rank, np.argsort(mean_rank, kind="stable"))


def ranks(scores: Floats) -> Floats:
    """Rank of each of (n,) scores, 1 for the highest; equal ones share their mean rank, NaN has none."""
    higher = (scores[None, :] > scores[:, None]).sum(axis=1)
    level = (scores[None, :] == scores[:, None]).sum(axis=1)
    return np.where(np.isnan(scores), np.nan, higher + (level + 1) / 2)
