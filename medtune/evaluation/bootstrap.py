"""Intervals from a bootstrap over patients.

Images of one patient resemble each other, so resampling images would promise too much; a replicate
draws as many patients as there are, with replacement, and takes each with all its images.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medtune.evaluation.metric import Floats, Metric, PatientStats, compute, nan_to_none

CHUNK_CELLS = 2_000_000  # weights held at once: 16 MB as float64
MIN_DEFINED_FRACTION = 0.1  # an interval from fewer than this share of the replicates is no interval


@dataclass(frozen=True)
class Interval:
    """A metric of the whole set with its percentile interval over patients.

    Attributes:
        value: of the whole set; None where undefined.
        lo, hi: interval; None where there is none.
        dropped: replicates in which the metric was undefined, left out.
        reason: why there is no interval; None where there is one.
    """

    value: float | None
    lo: float | None
    hi: float | None
    dropped: int
    reason: str | None = None

    def as_dict(self) -> dict[str, float | int | str | None]:
        """What metrics.json says of it: `reason` and `dropped` only where they say something."""
        told: dict[str, float | int | str | None] = {"value": self.value, "lo": self.lo, "hi": self.hi}
        if self.dropped:
            told["dropped"] = self.dropped
        if self.reason:
            told["reason"] = self.reason
        return told


def intervals(
    metrics: Sequence[Metric],
    stats: PatientStats,
    replicates: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    advance: Callable[[float], object] | None = None,
) -> dict[str, Interval]:
    """Compute metrics with their percentile intervals, the same for the same seed.

    Args:
        metrics: those to compute; the ones not defined for `stats` are left out.
        stats: of the set of images.
        replicates: resamples of the patients.
        confidence: coverage aimed at, 0..1.
        seed: of the resampling.
        advance: called with the number of replicates done, as they are done.
    """
    whole = {name: float(value[0]) for name, value in compute(metrics, stats).items()}
    if stats.n_patients == 1:
        reason = "one patient only: nothing to resample"
        return {name: Interval(nan_to_none(value), None, None, 0, reason) for name, value in whole.items()}
    drawn = resampled(metrics, stats, replicates, seed, advance)
    return {name: interval(whole[name], drawn[name], confidence) for name in whole}


def resampled(
    metrics: Sequence[Metric],
    stats: PatientStats,
    replicates: int,
    seed: int,
    advance: Callable[[float], object] | None = None,
) -> dict[str, Floats]:
    """Compute metrics (replicates,) of each resample of the patients, by name. Arguments as in `intervals`."""
    drawn: dict[str, list[Floats]] = {}
    for weights in resamples(stats.n_patients, replicates, seed, stats.width):
        for name, value in compute(metrics, stats, weights).items():
            drawn.setdefault(name, []).append(value)
        if advance:
            advance(len(weights))
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def resamples(groups: int, replicates: int, seed: int, width: int = 0) -> Iterator[Floats]:
    """How often each group is drawn, (chunk, groups) at a time, rows summing to `groups`.

    Args:
        groups: how many there are.
        replicates: rows in all.
        seed: of the draw.
        width: values the caller will hold for each row, to bound its memory.
    """
    draw = np.random.default_rng(seed)
    chunk = max(1, CHUNK_CELLS // max(groups, width))
    for start in range(0, replicates, chunk):
        rows = min(chunk, replicates - start)
        picked = draw.integers(0, groups, (rows, groups)) + groups * np.arange(rows)[:, None]
        yield np.bincount(picked.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)


def interval(whole: float, bootstrap_values: Floats, confidence: float) -> Interval:
    """Percentile interval of a figure.

    Args:
        whole: the figure of the whole set, NaN where undefined.
        bootstrap_values: (R,) the figure in each resample, NaN where undefined.
        confidence: coverage aimed at, 0..1.
    """
    kept = bootstrap_values[~np.isnan(bootstrap_values)]
    dropped = len(bootstrap_values) - len(kept)
    if np.isnan(whole):
        return Interval(None, None, None, dropped, "undefined: the labels lack a class it needs")
    if len(kept) < MIN_DEFINED_FRACTION * len(bootstrap_values):
        return Interval(
            whole, None, None, dropped, f"defined in {len(kept)} of {len(bootstrap_values)} resamples of the patients"
        )
    lo, hi = np.quantile(kept, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(whole, float(lo), float(hi), dropped)
