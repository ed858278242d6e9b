"""The trials of one data set and backbone as arrays: the metric of the test set, and without each of its patients.

The same patients are left out of all trials of a data set, so that differences between them are paired.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.benchmark.report.predictions import read_predictions
from medtune.benchmark.report.records import TrialRecord, kind_of
from medtune.config.errors import InputError, suggestion
from medtune.evaluation.intervals import MIN_PATIENTS
from medtune.evaluation.jackknife import Jackknife, jackknife
from medtune.evaluation.metric import UNBOUNDED, Floats, Metric, compute
from medtune.tasks import base
from medtune.tasks.base import StoredPredictions


@dataclass(frozen=True)
class MetricCube:
    """All that is compared with each other: M methods, P percents, S seeds, G groups of patients.

    Attributes:
        data, backbone: what the trials share.
        metric: name of the metric.
        methods: (M,) names, in the order of the grid.
        percents: (P,) of the training patients, rising.
        seeds: (S,) rising.
        trials: by method, percent and seed.
        value: (M, P, S) metric of the whole test set; NaN where a trial is not done or the metric undefined.
        left: (M, P, S, G) the same without each group of patients; G is 0 where there are too few patients.
        design: which patients were left out together; None where there are too few.
        rests_on: patients that the metric rests on.
        support: test patients with images of each class; empty where no trial has predictions.
        n_groups: test patients; 0 where no trial has predictions.
    """

    data: str
    backbone: str
    metric: str
    methods: tuple[str, ...]
    percents: tuple[int, ...]
    seeds: tuple[int, ...]
    trials: dict[tuple[str, int, int], TrialRecord]
    value: Floats
    left: Floats
    design: Jackknife | None
    rests_on: float
    support: dict[str, int]
    n_groups: int

    @property
    def metric_of_task(self) -> Metric:
        """The metric as its task has it; one without bounds where the task does not have it."""
        return base.metric(self.kind, self.metric) or Metric(
            self.metric, self.metric, "max", lambda stats: stats.undefined, bounds=UNBOUNDED
        )

    @property
    def sign(self) -> int:
        """1 where a higher metric is better, -1 where a lower one is."""
        return sign_of(self.metric, self.kind)

    @property
    def kind(self) -> str:
        """Task of the trials."""
        return kind_of(self.results)

    @property
    def is_available(self) -> npt.NDArray[np.bool_]:
        """(M, P, S): the trial has a figure."""
        return ~np.isnan(self.value)

    @property
    def results(self) -> list[dict[str, Any]]:
        """result.json of every finished trial, in the order of the grid."""
        return [trial.result for trial in self.trials.values() if trial.result is not None]

    def results_of(self, method: int, percent: int) -> list[dict[str, Any]]:
        """result.json of a method's finished trials at the percent of that index, one a seed."""
        wanted = [(self.methods[method], self.percents[percent], seed) for seed in self.seeds]
        found = [self.trials[key].result for key in wanted if key in self.trials]
        return [result for result in found if result is not None]

    def first_value(self, method: int, name: str) -> Any:
        """What the method's first finished trial says of `name`; None where none is done."""
        for percent in range(len(self.percents)):
            for result in self.results_of(method, percent):
                return result.get(name)
        return None


def sign_of(name: str, kind: str) -> int:
    """1 where a higher value of a task's metric of that name is better, -1 where a lower one is."""
    metric = base.metric(kind, name)
    return metric.sign if metric else 1


def build_cubes(trials: Sequence[TrialRecord], metric: str) -> list[MetricCube]:
    """One block a data set and backbone, in the order of the grid.

    Args:
        trials: the grid.
        metric: name of the metric.

    Raises:
        InputError: no trial knows the metric, predictions that cannot be read, or two trials of a data set that
            were tested on different images.
    """
    found = []
    seen: dict[str, tuple[TrialRecord, StoredPredictions]] = {}
    for data, backbone in dict.fromkeys((c.identity.data, c.identity.backbone) for c in trials):
        mine = [c for c in trials if (c.identity.data, c.identity.backbone) == (data, backbone)]
        found.append(_build_cube(mine, metric, seen))
    return found


def _build_cube(
    trials: Sequence[TrialRecord],
    metric: str,
    seen: dict[str, tuple[TrialRecord, StoredPredictions]],
) -> MetricCube:
    first = trials[0].identity
    methods = tuple(dict.fromkeys(c.identity.method for c in trials))
    percents, seeds = (
        _sorted_unique(c.identity.percent for c in trials),
        _sorted_unique(c.identity.seed for c in trials),
    )
    shape = len(methods), len(percents), len(seeds)
    value = np.full(shape, np.nan)
    left: Floats | None = None
    design: Jackknife | None = None
    rests_on = 0.0
    chosen = base.metric(kind_of(trial.result or {} for trial in trials), metric)
    for trial in trials:
        if not _defined(trial, metric):
            continue
        assert chosen is not None  # a finished trial knows it
        sums = _paired(trial, seen).stats
        place = (
            methods.index(trial.identity.method),
            percents.index(trial.identity.percent),
            seeds.index(trial.identity.seed),
        )
        value[place] = compute([chosen], sums)[metric][0]
        if left is None:
            design = jackknife(sums) if sums.n_patients >= MIN_PATIENTS else None
            rests_on = chosen.rests_on(sums)
            left = np.full((*shape, design.n_groups if design else 0), np.nan)
        if design:
            left[place] = design.leave_out([chosen], sums)[metric]
    support, n_groups = {}, 0
    if left is not None:
        predicted = seen[first.data][1]
        n_groups, support = predicted.stats.n_patients, predicted.support
    return MetricCube(
        first.data,
        first.backbone,
        metric,
        methods,
        percents,
        seeds,
        {(c.identity.method, c.identity.percent, c.identity.seed): c for c in trials},
        value,
        np.empty((*shape, 0)) if left is None else left,
        design,
        rests_on,
        support,
        n_groups,
    )


def _sorted_unique(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


def _defined(trial: TrialRecord, metric: str) -> bool:
    if trial.status != "done" or trial.result is None:
        return False
    metrics = trial.result["metrics"]
    if metric not in metrics:
        raise InputError(
            f"metric {metric!r} is none of {trial.identity.name}{suggestion(metric, list(metrics))}; "
            f"known there: {', '.join(metrics)}"
        )
    # A run that diverged says null, and its probabilities cannot be scored.
    return metrics[metric]["value"] is not None


def _paired(trial: TrialRecord, seen: dict[str, tuple[TrialRecord, StoredPredictions]]) -> StoredPredictions:
    predicted = read_predictions(trial)
    other, before = seen.setdefault(trial.identity.data, (trial, predicted))
    if predicted.images != before.images:
        raise InputError(
            f"{trial.identity.name} and {other.identity.name} were tested on different images, labels or patients: "
            "they cannot be paired; run the trials of one of them again"
        )
    return predicted
