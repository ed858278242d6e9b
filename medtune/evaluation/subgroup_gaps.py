"""Differences of metrics between subgroups, from one joint resampling of all patients."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from medtune.evaluation.bootstrap import Interval, interval, resamples
from medtune.evaluation.metric import Floats, Metric, PatientStats, compute
from medtune.evaluation.subgroup_metrics import Gap

# Resampling fewer patients than this says nothing about other patients.
MIN_PATIENTS = 5


def too_few(n_patients: int) -> str:
    """Why there is no interval."""
    unit = "patient" if n_patients == 1 else "patients"
    return f"{n_patients} {unit}: an interval needs {MIN_PATIENTS}"


def draw_jointly(
    n_patients: int,
    members: Mapping[str, npt.NDArray[np.int64]],
    stats: Mapping[str, PatientStats],
    metrics: Sequence[Metric],
    replicates: int,
    seed: int,
    advance: Callable[[float], object],
) -> dict[str, dict[str, Floats]]:
    """Compute the metrics of each subgroup under the same resamples of all patients.

    Args:
        n_patients: all patients.
        members: indices of each subgroup's patients among all of them, in the order of its statistics.
        stats: of each subgroup.
        metrics: those to compute.
        replicates: resamples of the patients.
        seed: of the resampling.
        advance: called with half the share of the resamples that was done.

    Returns:
        Metrics (replicates,) by subgroup and name, NaN where undefined; empty if there is one subgroup.

    Raises:
        ValueError: the statistics of a subgroup do not have one entry per patient.
    """
    for name, index in members.items():
        if stats[name].n_patients != len(index):
            raise ValueError(f"{name}: statistics of {stats[name].n_patients} patients, expected {len(index)}")
    drawn: dict[str, dict[str, list[Floats]]] = {name: {metric.name: [] for metric in metrics} for name in members}
    if len(members) > 1:
        width = max(one.width for one in stats.values())
        for weights in resamples(n_patients, replicates, seed, width):
            for name, index in members.items():
                for metric, value in compute(metrics, stats[name], weights[:, index]).items():
                    drawn[name][metric].append(value)
            advance(0.5 * len(weights) / replicates)
    return {
        name: {metric: np.concatenate(chunks) if chunks else np.empty(0) for metric, chunks in by_metric.items()}
        for name, by_metric in drawn.items()
    }


def difference_of(
    metric: str,
    first: str,
    second: str,
    whole: Mapping[str, Mapping[str, Floats]],
    drawn: Mapping[str, Mapping[str, Floats]],
    stats: Mapping[str, PatientStats],
    confidence: float,
    lacking: Mapping[str, Sequence[str]],
) -> Gap:
    """Difference of a metric between two subgroups.

    Args:
        metric: name of the metric.
        first, second: the subgroups.
        whole: metrics (1,) by subgroup and name.
        drawn: of `draw_jointly`.
        stats: of each subgroup.
        confidence: coverage aimed at, 0..1.
        lacking: classes that each subgroup lacks, if the metric averages over classes; otherwise empty.
    """
    difference = float(whole[first][metric][0] - whole[second][metric][0])
    if lacking and lacking[first] != lacking[second]:
        return Gap(metric, first, second, Interval(None, None, None, 0, "averages over different classes"))
    fewest = min(stats[first].n_patients, stats[second].n_patients)
    if fewest < MIN_PATIENTS and not np.isnan(difference):
        reason = too_few(fewest)
        return Gap(metric, first, second, Interval(difference, None, None, 0, reason))
    return Gap(metric, first, second, interval(difference, drawn[first][metric] - drawn[second][metric], confidence))


def with_simultaneous(
    gaps: Sequence[Gap], drawn: Mapping[str, Mapping[str, Floats]], metric: str, confidence: float
) -> list[Gap]:
    """Add the interval that holds for all pairs at once, where there are several."""
    chosen = [gap for gap in gaps if gap.difference.lo is not None]
    if len(chosen) < 2:
        return list(gaps)
    centers = np.array([gap.difference.value for gap in chosen], np.float64)
    draws = np.stack([drawn[gap.first][metric] - drawn[gap.second][metric] for gap in chosen])
    spread = np.nanstd(draws, axis=1, ddof=1)
    moving = spread > 0  # pairs that never differ need no width
    usable = ~np.isnan(draws[moving]).all(axis=0)
    width = 0.0
    if usable.any():
        studentized = np.abs(draws[moving][:, usable] - centers[moving, None]) / spread[moving, None]
        width = float(np.quantile(np.nanmax(studentized, axis=0), confidence))
    ends = {
        (gap.first, gap.second): (center - width * deviation, center + width * deviation)
        for gap, center, deviation in zip(chosen, centers.tolist(), spread.tolist(), strict=True)
    }
    return [
        Gap(gap.metric, gap.first, gap.second, gap.difference, len(chosen), ends.get((gap.first, gap.second)))
        for gap in gaps
    ]
