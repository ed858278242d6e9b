"""Contract of the metrics of all tasks; a new metric is tested automatically."""

import numpy as np
import pytest

from medtune.config import registry
from medtune.evaluation.metric import Metric, PatientStats, compute
from medtune.tasks import base

TASKS = registry.plugin_names("medtune.tasks")
NAMES = [f"p{number}" for number in range(12)]


def example(task: str, names: list[str], seed: int) -> PatientStats:
    return registry.load_part("medtune.tasks", task, "metrics", "task.kind").example(names, seed)


CASES = [
    pytest.param((task, metric, seed), id=f"{task}-{metric.name}-{seed}")
    for task in TASKS
    for metric in base.metrics(task)
    for seed in (0, 1, 2)
    if metric.defined(example(task, NAMES, seed))
]


@pytest.fixture
def value(request):
    """Return a function that computes the metric of example patients from names and weights (R, names)."""
    task, metric, seed = request.param
    return lambda names, weights=None: compute([metric], example(task, names, seed), weights)[metric.name]


@pytest.mark.parametrize("task", TASKS)
def test_metrics__have_unique_names_and_are_in_order(task):
    metrics = base.metrics(task)
    assert metrics
    assert all(isinstance(metric, Metric) for metric in metrics)
    assert "loss" not in {metric.name for metric in metrics}
    for values in ([metric.name for metric in metrics], [metric.title for metric in metrics]):
        assert len(set(values)) == len(values)
        assert all(values)
    assert {metric.direction for metric in metrics} <= {"max", "min", "target"}
    assert [metric.order for metric in metrics] == sorted(metric.order for metric in metrics)
    assert any(metric.each_epoch for metric in metrics)
    assert any(metric.headline for metric in metrics)


@pytest.mark.parametrize("value", CASES, indirect=True)
def test_metric__one_value_per_row_of_weights(value):
    weights = np.ones((5, len(NAMES)))
    assert value(NAMES, weights).shape == (5,)
    assert np.isfinite(value(NAMES, weights)).all()


@pytest.mark.parametrize("value", CASES, indirect=True)
def test_metric__does_not_depend_on_the_order_of_patients(value):
    np.testing.assert_allclose(value(NAMES[::-1]), value(NAMES), rtol=1e-12)


@pytest.mark.parametrize("value", CASES, indirect=True)
def test_metric__weight_is_equivalent_to_repetition(value):
    for seed in range(4):
        times = np.random.default_rng(seed).integers(0, 4, len(NAMES))
        repeated = [name for name, n in zip(NAMES, times, strict=True) for _ in range(n)]
        weighted = value(NAMES, times[None].astype(float))
        np.testing.assert_allclose(weighted, value(repeated), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("value", CASES, indirect=True)
def test_metric__rows_of_weights_are_independent(value):
    weights = np.random.default_rng(3).integers(1, 4, (6, len(NAMES))).astype(float)
    np.testing.assert_allclose(value(NAMES, weights)[4], value(NAMES, weights[4:5])[0], rtol=1e-12, atol=1e-14)
