"""Comparison of the model with baselines and control runs in stage evaluate.

A control run trains a variant of the model, for example from random weights. A baseline is a simpler method.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.evaluation.baselines import evaluate_baselines, rows_needed
from medtune.evaluation.control_comparison import absent_control, compare_control, training_cost
from medtune.evaluation.metric import Metric
from medtune.evaluation.outputs import OutputsRequest
from medtune.evaluation.slides import to_slides
from medtune.runtime.device import device_name
from medtune.stages.evaluate_outputs import network_outputs
from medtune.stages.steps import Steps
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def compare_controls(
    task: Any, steps: Steps, prepared: "PreparedDataset", tested: Any, metrics: Sequence[Metric]
) -> list[dict[str, Any]]:
    """Evaluate the control runs on the test images of all folds.

    Args:
        task: evaluation module of the task (`medtune.tasks.base.Evaluation`).
        steps: the steps of the pipeline, with those of the control runs.
        prepared: the prepared data.
        tested: pooled test predictions of the model.
        metrics: metrics to compare.

    Returns:
        One entry per control run, including those that were not trained. [] for a task without control runs.
    """
    params, compared = steps.params, []
    for control in base.controls(params):
        if control.params is None:
            compared.append(absent_control(control))
            continue
        folds = sorted(params.data.split.trained_folds)
        trained = steps.controls[control.name].trained(folds)
        requests = [OutputsRequest.for_artifact(stages[-1], prepared).without_external() for stages in trained]
        outputs = network_outputs(task, requests, prepared, params, steps.paths.cache)
        units, requests, outputs = to_slides(prepared, requests, outputs, params.model.head.aggregation)
        parts = [fold.test for fold in task.evaluate_folds(requests, outputs, units, params.evaluate)]
        costs = {"control": training_cost(trained), "model": training_cost(steps.trained(folds))}
        compared.append(compare_control(control, parts, task.pool(parts), tested, costs, metrics, params.evaluate))
    return compared


def compare_linear_baselines(
    task: Any,
    params: Params,
    prepared: "PreparedDataset",
    requests: Sequence[OutputsRequest],
    tested: Any,
    metrics: Sequence[Metric],
    cache: Path,
) -> list[dict[str, Any]]:
    """Evaluate the baseline of the task on features of the frozen backbone, for example logistic regression.

    Args:
        task: evaluation module of the task (`medtune.tasks.base.Evaluation`).
        params: all params.
        prepared: the prepared data.
        requests: one per network, with its fold.
        tested: pooled test predictions of the model.
        metrics: metrics to compare.
        cache: folder of the cache.

    Returns:
        Entries of the report. [] for a task without a baseline.
    """
    from medtune.training.frozen_features import compute_frozen_features

    fit_baseline = getattr(task, "baseline", None)
    if fit_baseline is None:
        return []
    features = compute_frozen_features(params, prepared, rows_needed(prepared, requests), cache, device_name())
    return evaluate_baselines(task, fit_baseline, prepared, requests, tested, features, metrics, params.evaluate)
