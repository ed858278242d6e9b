import time

import numpy as np
import pytest

from medtune.evaluation.bootstrap import intervals, resamples
from medtune.tasks.classification.metrics import METRICS, compute_all
from medtune.tasks.classification.statistics import accumulate


def make_set(n, groups, classes, seed=0):
    draw = np.random.default_rng(seed)
    member, labels = draw.integers(0, groups, n), draw.integers(0, classes, n)
    scores = draw.normal(0, 1, (n, classes)) + 1.5 * np.eye(classes)[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return labels, probabilities, probabilities.argmax(axis=1), member.astype(str)


def test_resamples__draw_as_many_patients_as_there_are():
    weights = np.concatenate(list(resamples(7, 1000, seed=3, width=500_000)))
    assert weights.shape == (1000, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean() == 1
    assert np.array_equal(weights, np.concatenate(list(resamples(7, 1000, seed=3))))


@pytest.mark.parametrize("classes", [2, 4])
def test_intervals__equal_a_plain_bootstrap(classes):
    case = make_set(120, 12, classes)
    labels, probabilities, predictions, groups = case
    names = np.unique(groups)
    drawn = {name: [] for name in compute_all(*case)}
    for weights in np.concatenate(list(resamples(len(names), 200, seed=5))).astype(int):
        rows = np.concatenate(
            [np.flatnonzero(groups == g) for g, w in zip(names, weights, strict=True) for _ in range(w)]
        )
        again = np.concatenate(  # a patient drawn twice counts as two
            [np.full((groups == g).sum(), f"{g}/{i}") for g, w in zip(names, weights, strict=True) for i in range(w)]
        )
        for name, value in compute_all(labels[rows], probabilities[rows], predictions[rows], again).items():
            drawn[name].append(value)
    for name, interval in intervals(METRICS, accumulate(*case), 200, 0.9, seed=5).items():
        assert interval.value == pytest.approx(compute_all(*case)[name], abs=1e-12)
        assert [interval.lo, interval.hi] == pytest.approx(list(np.quantile(drawn[name], [0.05, 0.95])), abs=1e-9)


def test_intervals__same_seed_same_result():
    sums = accumulate(*make_set(60, 9, 3))
    assert intervals(METRICS, sums, 100, seed=1) == intervals(METRICS, sums, 100, seed=1)
    assert intervals(METRICS, sums, 100, seed=1) != intervals(METRICS, sums, 100, seed=2)


def test_intervals__one_patient():
    labels, probabilities, predictions, _ = make_set(30, 5, 2)
    for interval in intervals(METRICS, accumulate(labels, probabilities, predictions, np.full(30, "a")), 100).values():
        assert interval.value is not None
        assert (interval.lo, interval.hi) == (None, None)
        assert "one patient" in interval.as_dict()["reason"]


def test_intervals__drop_resamples_that_lose_a_class():
    labels = np.array([0] * 9 + [1])  # one patient of ten has class 1
    probabilities = np.eye(2)[labels]
    found = intervals(METRICS, accumulate(labels, probabilities, labels, np.arange(10)), 2000)
    assert found["accuracy"].dropped == 0
    assert found["auroc"].dropped == found["balanced_accuracy"].dropped
    # All ten draws miss that patient, or all ten are that patient, which hardly happens.
    assert found["auroc"].dropped / 2000 == pytest.approx(0.9**10, abs=0.04)
    assert found["specificity"].dropped < 5
    assert found["auroc"].as_dict()["dropped"] == found["auroc"].dropped


def test_intervals__undefined_metric_is_null():
    labels = np.zeros(10, np.int64)
    interval = intervals(METRICS, accumulate(labels, np.full((10, 2), 0.5), labels, np.arange(10)), 100)["auroc"]
    assert interval.value is interval.lo is interval.hi is None
    assert "lack a class" in interval.reason


def test_intervals__cover_the_truth_about_as_often_as_they_say():
    draw, inside = np.random.default_rng(0), 0
    for trial in range(150):
        rate = np.repeat(draw.beta(6, 2, 40), 10)  # 40 patients, each with its own difficulty; mean 0.75
        labels = np.zeros(400, np.int64)
        predictions = (draw.random(400) > rate).astype(np.int64)
        sums = accumulate(labels, np.eye(2)[predictions], predictions, np.repeat(np.arange(40), 10))
        interval = intervals(METRICS, sums, 300, seed=trial)["accuracy"]
        inside += interval.lo <= 0.75 <= interval.hi
    assert 0.88 <= inside / 150 <= 0.99


def test_intervals__many_images_take_seconds():
    sums = accumulate(*make_set(5000, 82, 8))
    start = time.process_time()
    intervals(METRICS, sums, 2000)
    assert time.process_time() - start < 10
