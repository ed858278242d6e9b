"""Differences of metrics between subgroups ("gaps"), from a joint jackknife over all patients."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.evaluation.intervals import MIN_PATIENTS, Interval, difference_interval, insufficient, too_few
from medtune.evaluation.jackknife import Jackknife, jackknife
from medtune.evaluation.metric import Floats, Metric, PatientStats, compute
from medtune.evaluation.subgroup_metrics import Gap

DIFFERENT_CLASSES = "the averages are over different classes, so they are not comparable"


@dataclass(frozen=True)
class JointValues:
    """Metrics of every subgroup for the full sample and without each group of patients.

    Attributes:
        design: jackknife design of all patients, with G groups. Patients of a stratum have the same subgroups and
            class.
        stats: statistics of each subgroup.
        full: (1,) values for the full sample by subgroup and metric.
        left: (G,) values without each group of patients by subgroup and metric. Empty for a single subgroup.
    """

    design: Jackknife
    stats: Mapping[str, PatientStats]
    full: Mapping[str, Mapping[str, Floats]]
    left: Mapping[str, Mapping[str, Floats]]


def leave_out_jointly(
    everyone: PatientStats,
    members: Mapping[str, npt.NDArray[np.int64]],
    stats: Mapping[str, PatientStats],
    metrics: Sequence[Metric],
    advance: Callable[[float], object],
) -> JointValues:
    """Compute the metrics of all subgroups without each group of patients.

    A group of patients is left out of all subgroups at once.

    Args:
        everyone: statistics of all patients.
        members: indices of the patients of each subgroup among all patients, in the order of its statistics.
        stats: statistics of each subgroup.
        metrics: metrics to compute.
        advance: called with the fraction of the work that was done. The fractions sum to 0.5.

    Returns:
        The metrics of all subgroups.

    Raises:
        ValueError: the statistics of a subgroup do not have one entry per patient.
    """
    for name, index in members.items():
        if stats[name].n_patients != len(index):
            raise ValueError(f"{name}: statistics of {stats[name].n_patients} patients, expected {len(index)}")
    strata = np.zeros((everyone.n_patients, len(members) + 1), np.int64)
    strata[:, -1] = getattr(everyone, "strata", 0)
    for column, index in enumerate(members.values()):
        strata[index, column] = 1
    design = jackknife(everyone, np.unique(strata, axis=0, return_inverse=True)[1].ravel())
    left = {}
    for name, index in members.items():
        left[name] = design.leave_out(metrics, stats[name], index) if len(members) > 1 else {}
        advance(0.5 / len(members))
    return JointValues(design, stats, {name: compute(metrics, part) for name, part in stats.items()}, left)


def gaps_of(metric: Metric, joint: JointValues, lacking: Mapping[str, Sequence[str]], confidence: float) -> list[Gap]:
    """Compute the differences of a metric between all pairs of subgroups.

    Args:
        metric: metric to compare.
        joint: result of `leave_out_jointly`.
        lacking: classes without images in each subgroup if the metric averages over classes; otherwise empty.
        confidence: nominal coverage of each interval, and of all simultaneous intervals together, 0..1.

    Returns:
        One gap per pair.
    """
    pairs = list(itertools.combinations(joint.stats, 2))
    comparable = [pair for pair in pairs if _gap(metric, joint, pair, lacking, confidence, 1).difference.lo is not None]
    gaps = []
    for pair in pairs:
        gap = _gap(metric, joint, pair, lacking, confidence, 1)
        if len(comparable) > 1 and pair in comparable:
            simultaneous = _gap(metric, joint, pair, lacking, confidence, len(comparable)).difference
            if simultaneous.lo is not None and simultaneous.hi is not None:
                ends = simultaneous.lo, simultaneous.hi
                gap = Gap(metric.name, *pair, gap.difference, len(comparable), ends)
        gaps.append(gap)
    return gaps


def _gap(
    metric: Metric,
    joint: JointValues,
    pair: tuple[str, str],
    lacking: Mapping[str, Sequence[str]],
    confidence: float,
    comparisons: int,
) -> Gap:
    """Compute the gap of a pair; its interval holds simultaneously for `comparisons` gaps."""
    first, second = pair
    name, stats = metric.name, [joint.stats[side] for side in pair]
    difference = float(joint.full[first][name][0] - joint.full[second][name][0])
    if lacking and lacking[first] != lacking[second]:
        return Gap(name, first, second, Interval(None, None, None, DIFFERENT_CLASSES))
    fewest = min(part.n_patients for part in stats)
    if fewest < MIN_PATIENTS and not np.isnan(difference):
        return Gap(name, first, second, Interval(difference, None, None, too_few(fewest)))
    fewest_of_metric = min(metric.sample_size(part) for part in stats)
    if (reason := insufficient(metric, fewest_of_metric)) and not np.isnan(difference):
        return Gap(name, first, second, Interval(difference, None, None, reason))
    left = joint.left[first][name] - joint.left[second][name]
    # Upper limit of the degrees of freedom: those of two independent samples add up.
    patients = sum(map(metric.sample_size, stats))
    return Gap(
        name,
        first,
        second,
        difference_interval(metric, difference, left, joint.design, patients, confidence, comparisons),
    )
