"""Metrics of all trials of one dataset and backbone.

For the jackknife, the test patients are divided into groups. A metric is computed on all test patients, and once
without each group. The groups are the same for all trials of a dataset, so differences between trials are paired.
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
from medtune.evaluation.result import StoredPredictions
from medtune.tasks import base


@dataclass(frozen=True)
class MetricCube:
    """Metrics of M methods at P percentages of the training patients, with S seeds and G groups of test patients.

    Attributes:
        data: label of the dataset.
        backbone: label of the backbone.
        metric: name of the metric.
        methods: (M,) names in the order of the grid.
        percents: (P,) percentages of the training patients, ascending.
        seeds: (S,) seeds, ascending.
        trials: records by method, percentage and seed.
        value: (M, P, S) metric of the full test set; NaN if a trial is not finished or the metric is undefined.
        left: (M, P, S, G) metric without each group of patients. G is 0 if there are too few patients.
        design: groups of test patients for the jackknife; None if there are too few patients.
        sample_size: number of patients that the metric depends on; 0 if no trial has a value.
        support: number of test patients with images of each class; empty if no trial has predictions.
        n_patients: number of test patients; 0 if no trial has predictions.
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
    sample_size: float
    support: dict[str, int]
    n_patients: int

    @property
    def metric_of_task(self) -> Metric:
        """Definition of the metric; if the task has none, a metric without bounds."""
        return base.metric(self.kind, self.metric) or Metric(
            self.metric, self.metric, "max", lambda stats: stats.undefined, bounds=UNBOUNDED
        )

    @property
    def sign(self) -> int:
        """1 if higher is better, -1 if lower is better."""
        return sign_of(self.metric, self.kind)

    @property
    def kind(self) -> str:
        """Task kind of the trials."""
        return kind_of(self.results)

    @property
    def is_available(self) -> npt.NDArray[np.bool_]:
        """(M, P, S) True if the trial has a value."""
        return ~np.isnan(self.value)

    @property
    def results(self) -> list[dict[str, Any]]:
        """Content of result.json of every finished trial, in the order of the grid."""
        return [trial.result for trial in self.trials.values() if trial.result is not None]

    def results_of(self, method: int, percent: int) -> list[dict[str, Any]]:
        """Return the content of result.json of the finished trials of a method, one per seed.

        Args:
            method: index of the method.
            percent: index of the percentage.
        """
        keys = [(self.methods[method], self.percents[percent], seed) for seed in self.seeds]
        results = [self.trials[key].result for key in keys if key in self.trials]
        return [result for result in results if result is not None]

    def first_value(self, method: int, name: str) -> Any:
        """Return the field `name` of the method's first finished trial; None if no trial is finished."""
        for percent in range(len(self.percents)):
            for result in self.results_of(method, percent):
                return result.get(name)
        return None


def sign_of(name: str, kind: str) -> int:
    """Return 1 if higher values of a metric are better, -1 if lower values are better.

    Args:
        name: name of the metric.
        kind: kind of the task, such as `classification`.
    """
    metric = base.metric(kind, name)
    return metric.sign if metric else 1


def build_cubes(trials: Sequence[TrialRecord], metric: str) -> list[MetricCube]:
    """Build one cube per dataset and backbone, in the order of the grid.

    Args:
        trials: all trials of the grid.
        metric: name of the metric.

    Returns:
        The cubes.

    Raises:
        InputError: a trial does not have the metric, predictions cannot be read, or two trials of a dataset were
            tested on different images.
    """
    cubes = []
    seen: dict[str, tuple[TrialRecord, StoredPredictions]] = {}
    for data, backbone in dict.fromkeys((c.identity.data, c.identity.backbone) for c in trials):
        selected = [c for c in trials if (c.identity.data, c.identity.backbone) == (data, backbone)]
        cubes.append(_build_cube(selected, metric, seen))
    return cubes


def _build_cube(
    trials: Sequence[TrialRecord],
    metric: str,
    seen: dict[str, tuple[TrialRecord, StoredPredictions]],
) -> MetricCube:
    """Build the cube of one dataset and backbone. `seen` contains the first trial read of each dataset."""
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
    sample_size = 0.0
    definition = base.metric(kind_of(trial.result or {} for trial in trials), metric)
    for trial in trials:
        if not _defined(trial, metric):
            continue
        assert definition is not None  # a finished trial has the metric
        sums = _paired(trial, seen).stats
        index = (
            methods.index(trial.identity.method),
            percents.index(trial.identity.percent),
            seeds.index(trial.identity.seed),
        )
        value[index] = compute([definition], sums)[metric][0]
        if left is None:
            design = jackknife(sums) if sums.n_patients >= MIN_PATIENTS else None
            sample_size = definition.sample_size(sums)
            left = np.full((*shape, design.n_groups if design else 0), np.nan)
        if design:
            left[index] = design.leave_out([definition], sums)[metric]
    support, n_patients = {}, 0
    if left is not None:
        predicted = seen[first.data][1]
        n_patients, support = predicted.stats.n_patients, predicted.support
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
        sample_size,
        support,
        n_patients,
    )


def _sorted_unique(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


def _defined(trial: TrialRecord, metric: str) -> bool:
    """Return True if a trial is finished and the metric has a value. Raise InputError if the metric is unknown."""
    if trial.status != "done" or trial.result is None:
        return False
    metrics = trial.result["metrics"]
    if metric not in metrics:
        raise InputError(
            f"benchmark.metric={metric}: {trial.identity.name} has no such metric{suggestion(metric, list(metrics))}. "
            f"Choose from: {', '.join(metrics)}."
        )
    # A diverged training has null metrics, and its probabilities cannot be evaluated.
    return metrics[metric]["value"] is not None


def _paired(trial: TrialRecord, seen: dict[str, tuple[TrialRecord, StoredPredictions]]) -> StoredPredictions:
    """Read the predictions of a trial. Check that the test images are those of the first trial in `seen`."""
    predicted = read_predictions(trial)
    other, before = seen.setdefault(trial.identity.data, (trial, predicted))
    if predicted.images != before.images:
        raise InputError(
            f"{trial.identity.name} and {other.identity.name} were tested on different images, labels or patients, so "
            "they cannot be paired. Run both trials again with --fresh."
        )
    return predicted
