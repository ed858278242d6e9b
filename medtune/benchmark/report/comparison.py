"""A block with everything that follows from it: what the views show and the recommendations say."""

from dataclasses import dataclass

import numpy as np

from medtune.benchmark.report.metric_cube import MetricCube
from medtune.benchmark.report.paired import PairedDifference, paired_differences
from medtune.benchmark.report.records import FULL
from medtune.benchmark.report.summary import Summary, summarize
from medtune.evaluation.metric import Floats


@dataclass(frozen=True)
class Comparison:
    """One data set and backbone, judged.

    Attributes:
        cube: the figures.
        summary: means, intervals and ranks.
        trainable: (M,) trainable parameters of the backbone, head not counted; NaN where no trial is done.
        best: (P,) index of the method with the best mean at each percent; None where none has figures.
        against_best: (P,) the others against it, by method.
        against_full: (P,) the others against full fine-tuning, by method; empty where that has no figures.
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
        """Corrected p-values below this separate."""
        return 1 - self.confidence

    @property
    def is_empty(self) -> bool:
        """True where no trial has figures."""
        return all(best is None for best in self.best)

    @property
    def full(self) -> int | None:
        """Index of full fine-tuning; None where it is not in the grid."""
        return self.cube.methods.index(FULL) if FULL in self.cube.methods else None

    def statistically_tied(self, percent: int) -> list[int]:
        """Methods that do not separate from the best at the percent of that index, better means first."""
        tied = [m for m, paired in self.against_best[percent].items() if not paired.is_significant(self.alpha)]
        return sorted(tied, key=lambda m: -self.cube.sign * self.summary.mean[m, percent])


def compare_methods(cube: MetricCube, confidence: float) -> Comparison:
    """Everything that follows from a block, at that coverage (0..1) of intervals and tests."""
    summary = summarize(cube, confidence)
    told = [cube.first_value(method, "trainable") for method in range(len(cube.methods))]
    trainable = np.array([np.nan if n is None else n for n in told], np.float64)
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
    if np.isnan(scores).all():
        return None
    # Level means: the one that trains less.
    highest = np.flatnonzero(scores == np.nanmax(scores))
    return int(highest[np.argmin(np.nan_to_num(trainable[highest], nan=np.inf))])
