"""Reliability of probabilities: mean probability and frequency per bin, and calibration.json."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.result import EvaluationResult, write_json

Table = list[dict[str, float | int]]


def reliability_bins(probabilities: npt.NDArray[Any], outcomes: npt.NDArray[Any], bins: int) -> Table:
    """Compute the mean probability and the frequency of the outcome per probability bin (lower, upper].

    Args:
        probabilities: (n,) predicted probabilities.
        outcomes: (n,) 1 or True if the event occurred whose probability is predicted.
        bins: number of bins of equal width.

    Returns:
        `{lower, upper, images, confidence, accuracy}` for each bin with probabilities. `images` is the number of
        probabilities in the bin, `confidence` their mean and `accuracy` the frequency of the outcome.
    """
    index = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities, side="left")
    count, confidence_sum, outcome_sum = (
        np.bincount(index, weights=weights, minlength=bins) for weights in (None, probabilities, outcomes)
    )
    return [
        {
            "lower": k / bins,
            "upper": (k + 1) / bins,
            "images": int(count[k]),
            "confidence": float(confidence_sum[k] / count[k]),
            "accuracy": float(outcome_sum[k] / count[k]),
        }
        for k in np.flatnonzero(count).tolist()
    ]


def write_calibration(
    path: Path,
    result: EvaluationResult,
    reliability: Callable[[npt.NDArray[Any], npt.NDArray[Any], int], Table],
    bins: int,
) -> None:
    """Write calibration.json: the calibration of each fold, and the reliability of the test images.

    Args:
        path: the file.
        result: the evaluation, whose predictions have labels and probabilities.
        reliability: function that computes the bins from labels, probabilities and the number of bins.
        bins: number of bins.
    """
    pooled = result.pooled
    test = {"after": reliability(pooled.labels, pooled.probabilities, bins)}
    if result.folds:  # a bundle gives calibrated probabilities only
        test = {"before": reliability(pooled.labels, pooled.uncalibrated, bins)} | test
    fitted = {str(fold.fold): fold.record()["calibration"] for fold in result.folds}
    write_json(path, {"folds": fitted, "test": test})
