"""Differences of metrics between subgroups, from a joint jackknife over all patients."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.evaluation.intervals import MIN_PATIENTS, Interval, difference_interval, insufficient, too_few
from medtune.evaluation.jackknife import Jackknife, jackknife
from medtune.evaluation.metric import Floats, Metric, PatientStats, compute
from medtune.evaluation.subgroup_metrics import Gap

DIFFERENT_CLASSES = "averages over different classes"


@dataclass(frozen=True)
class JointValues:
    """Metrics of every subgroup, and the same without each group of all patients.

    Attributes:
        design: which patients were left out together; its strata are the subgroups of a patient and its class.
        stats: of each subgroup.
        whole: values (1,) by subgroup and name.
        left: values (G,) by subgroup and name.
    """

    design: Jackknife
    stats: Mapping[str, PatientStats]
    whole: Mapping[str, Mapping[str, Floats]]
    left: Mapping[str, Mapping[str, Floats]]


def leave_out_jointly(
    everyone: PatientStats,
    members: Mapping[str, npt.NDArray[np.int64]],
    stats: Mapping[str, PatientStats],
    metrics: Sequence[Metric],
    advance: Callable[[float], object],
) -> JointValues:
    """Compute the metrics of each subgroup without the same patients each time.

    Args:
        everyone: statistics of all patients.
        members: indices of each subgroup's patients among all of them, in the order of its statistics.
        stats: of each subgroup.
        metrics: those to compute.
        advance: called with the share of the work that was done, in total one half.

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
    return JointValues(design, stats, {name: compute(metrics, one) for name, one in stats.items()}, left)


def gaps_of(metric: Metric, joint: JointValues, lacking: Mapping[str, Sequence[str]], confidence: float) -> list[Gap]:
    """Compute the differences of a metric between every two subgroups.

    Args:
        metric: which.
        joint: of `leave_out_jointly`.
        lacking: classes that each subgroup lacks, if the metric averages over classes; otherwise empty.
        confidence: coverage aimed at, 0..1; of each interval, and of all at once where there are several.
    """
    pairs = list(itertools.combinations(joint.stats, 2))
    comparable = [pair for pair in pairs if _gap(metric, joint, pair, lacking, confidence, 1).difference.lo is not None]
    found = []
    for pair in pairs:
        gap = _gap(metric, joint, pair, lacking, confidence, 1)
        if len(comparable) > 1 and pair in comparable:
            all_at_once = _gap(metric, joint, pair, lacking, confidence, len(comparable)).difference
            if all_at_once.lo is not None and all_at_once.hi is not None:
                ends = all_at_once.lo, all_at_once.hi
                gap = Gap(metric.name, *pair, gap.difference, len(comparable), ends)
        found.append(gap)
    return found


def _gap(
    metric: Metric,
    joint: JointValues,
    pair: tuple[str, str],
    lacking: Mapping[str, Sequence[str]],
    confidence: float,
    comparisons: int,
) -> Gap:
    first, second = pair
    name, stats = metric.name, [joint.stats[side] for side in pair]
    difference = float(joint.whole[first][name][0] - joint.whole[second][name][0])
    if lacking and lacking[first] != lacking[second]:
        return Gap(name, first, second, Interval(None, None, None, DIFFERENT_CLASSES))
    fewest = min(one.n_patients for one in stats)
    if fewest < MIN_PATIENTS and not np.isnan(difference):
        return Gap(name, first, second, Interval(difference, None, None, too_few(fewest)))
    fewest_of_metric = min(metric.rests_on(one) for one in stats)
    if (reason := insufficient(metric, fewest_of_metric)) and not np.isnan(difference):
        return Gap(name, first, second, Interval(difference, None, None, reason))
    left = joint.left[first][name] - joint.left[second][name]
    # Two independent samples: their degrees of freedom add up, and Satterthwaite's weigh them.
    patients = sum(map(metric.rests_on, stats))
    return Gap(
        name,
        first,
        second,
        difference_interval(metric, difference, left, joint.design, patients, confidence, comparisons),
    )
