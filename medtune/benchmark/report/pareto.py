"""Pareto front of methods: the methods for which no other method is better in both cost and score."""

import numpy as np
import numpy.typing as npt

from medtune.evaluation.metric import Floats


def pareto_front(cost: Floats, score: Floats) -> npt.NDArray[np.bool_]:
    """Find the points that no other point dominates.

    A point dominates another point if it is at least as good in cost and score, and better in one of them.

    Args:
        cost: (n,) costs, lower is better. Points with NaN are never on the front.
        score: (n,) scores, higher is better. Points with NaN are never on the front.

    Returns:
        (n,) True for the points on the front.
    """
    known = ~(np.isnan(cost) | np.isnan(score))
    no_worse = (cost[None, :] <= cost[:, None]) & (score[None, :] >= score[:, None])
    better = (cost[None, :] < cost[:, None]) | (score[None, :] > score[:, None])
    return known & ~(no_worse & better).any(axis=1)
