"""Comparison of the methods on one dataset and backbone. Plots, tables and recommendations use it."""

from dataclasses import dataclass

import numpy as np

from medtune.benchmark.report.metric_cube import MetricCube
from medtune.benchmark.report.paired import PairedDifference, paired_differences
from medtune.benchmark.report.records import FULL
from medtune.benchmark.report.summary import Summary, summarize
from medtune.evaluation.metric import Floats


@dataclass(frozen=True)
class Comparison:
    """Comparison of the methods on one dataset and backbone.

    M is the number of methods, and P is the number of percentages of training patients.

    Attributes:
        cube: metrics of the trials.
        summary: means, intervals and ranks.
        trainable: (M,) number of trainable parameters, without the head; NaN if no trial of the method is finished.
        best: (P,) index of the method with the best mean at each percentage; None if no method has results.
        against_best: (P,) differences of the other methods from the best method, by index of the method.
        against_full: (P,) differences from full fine-tuning, by index of the method; empty dicts if full fine-tuning
            has no results.
        confidence: coverage of the intervals, 0..1.
    """

    cube: MetricCube
    summary: Summary
    trainable: Floats
    best: tuple[int | None, ...]
    against_best: tuple[dict[int, PairedDifference], ...]
    against_full: tuple[dict[int, PairedDifference], ...]
    confidence: float

    @property
    def alpha(self) -> float:
        """Significance level for corrected p-values."""
        return 1 - self.confidence

    @property
    def is_empty(self) -> bool:
        """True if no trial has results."""
        return all(best is None for best in self.best)

    @property
    def full(self) -> int | None:
        """Index of full fine-tuning; None if it is not in the grid."""
        return self.cube.methods.index(FULL) if FULL in self.cube.methods else None

    def statistically_tied(self, percent: int) -> list[int]:
        """Find the methods that do not differ significantly from the best one.

        Args:
            percent: index of the percentage of training patients.

        Returns:
            Indices of the methods, best mean first. The best method itself is not included.
        """
        tied = [m for m, paired in self.against_best[percent].items() if not paired.is_significant(self.alpha)]
        return sorted(tied, key=lambda m: -self.cube.sign * self.summary.mean[m, percent])


def compare_methods(cube: MetricCube, confidence: float) -> Comparison:
    """Return the comparison of the methods of a cube.

    Args:
        cube: metrics of the trials.
        confidence: coverage of the intervals, 0..1. The significance level of tests is 1 - confidence.
    """
    summary = summarize(cube, confidence)
    counts = [cube.first_value(method, "trainable") for method in range(len(cube.methods))]
    trainable = np.array([np.nan if n is None else n for n in counts], np.float64)
    percents = range(len(cube.percents))
    best = tuple(_best_method(cube.sign * summary.mean[:, p], trainable) for p in percents)
    full = cube.methods.index(FULL) if FULL in cube.methods else None

    def against(reference: int | None, percent: int) -> dict[int, PairedDifference]:
        return {} if reference is None else paired_differences(cube, reference, percent, confidence)

    return Comparison(
        cube,
        summary,
        trainable,
        best,
        tuple(against(best[p], p) for p in percents),
        tuple(against(full, p) for p in percents),
        confidence,
    )


def _best_method(scores: Floats, trainable: Floats) -> int | None:
    """Return the index of the highest score. Among equal scores, fewer trainable parameters win."""
    if np.isnan(scores).all():
        return None
    highest = np.flatnonzero(scores == np.nanmax(scores))
    return int(highest[np.argmin(np.nan_to_num(trainable[highest], nan=np.inf))])
