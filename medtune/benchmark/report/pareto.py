"""The methods that no other beats at no more trainable parameters."""

import numpy as np
import numpy.typing as npt

from medtune.evaluation.metric import Floats


def pareto_front(cost: Floats, score: Floats) -> npt.NDArray[np.bool_]:
    """(n,) True where no other point costs no more and scores no less, and is better in one of the two.

    Args:
        cost: (n,) lower is better; a NaN is never on the front.
        score: (n,) higher is better; a NaN is never on the front.
    """
    known = ~(np.isnan(cost) | np.isnan(score))
    no_worse = (cost[None, :] <= cost[:, None]) & (score[None, :] >= score[:, None])
    better = (cost[None, :] < cost[:, None]) | (score[None, :] > score[:, None])
    return known & ~(no_worse & better).any(axis=1)
