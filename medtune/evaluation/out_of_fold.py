"""Validation predictions of all folds together, from which decisions are chosen."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medtune.evaluation.result import Predictions


def without_tested(pooled: Predictions, test: Predictions, leaky: bool) -> Predictions:
    """Leave out the patients that a decision will be tested on.

    Args:
        pooled: validation predictions of several folds.
        test: predictions for the test images of one fold.
        leaky: the split ignores patients; then only the test images themselves are left out.

    Returns:
        The rest of `pooled`; may be empty.
    """
    name = "rows" if leaky else "patient_ids"
    return pooled.select(np.flatnonzero(~np.isin(getattr(pooled, name), getattr(test, name))))


def crossfit(
    val: Sequence[Any],
    test: Sequence[Any],
    pool: Callable[[Sequence[Any]], Any],
    choose: Callable[[Any], dict[str, Any]],
    leaky: bool,
) -> list[dict[str, Any]]:
    """Choose a decision per fold, from the validation predictions of all folds without the fold's test patients.

    Args:
        val: validation predictions per fold.
        test: test predictions per fold.
        pool: joins predictions.
        choose: the decision from predictions.
        leaky: as for `without_tested`.
    """
    pooled = pool(val)
    return [choose(without_tested(pooled, own, leaky)) for own in test]
