import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from medtune.evaluation.intervals import (
    Interval,
    difference_interval,
    intervals,
    paired_interval,
)
from medtune.evaluation.jackknife import jackknife
from medtune.evaluation.metric import Metric
from medtune.tasks.classification.metrics import METRICS as ALL
from medtune.tasks.classification.statistics import accumulate

METRICS = [metric for metric in ALL if metric.no_interval is None]
BOUNDS = {metric.name: metric.bounds for metric in METRICS}
AUROC = [metric for metric in METRICS if metric.name == "auroc"]


def make_set(patients, classes=2, seed=0, signal=1.5, images=None):
    draw = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), draw.integers(1, 9, patients) if images is None else images)
    labels = (np.arange(patients) % classes)[patient]
    scores = draw.normal(0, 1, (len(labels), classes)) + signal * np.eye(classes)[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return labels, probabilities, probabilities.argmax(axis=1), np.array([f"p{n:04}" for n in patient])


@given(st.integers(5, 24), st.integers(2, 4), st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 3.0, 30.0]))
def test_intervals__contain_the_value_and_have_width(patients, classes, seed, signal):
    for name, interval in intervals(METRICS, accumulate(*make_set(patients, classes, seed, signal))).items():
        assert (interval.lo is None) == (interval.reason is not None), name
        if interval.lo is not None:
            assert interval.lo <= interval.value <= interval.hi, name
            assert interval.hi - interval.lo > 1e-3, name
            low, high = BOUNDS[name]
            assert low <= interval.lo < interval.hi <= high, name


@given(st.integers(5, 24), st.integers(2, 3), st.integers(0, 10**6))
def test_intervals__do_not_depend_on_the_order_of_patients_or_images(patients, classes, seed):
    labels, probabilities, predictions, ids = make_set(patients, classes, seed)
    result = intervals(METRICS, accumulate(labels, probabilities, predictions, ids))
    order, names = (np.random.default_rng(seed).permutation(n) for n in (len(labels), patients))
    renamed = np.array([f"q{names[int(name[1:])]:04}" for name in ids])
    reordered = intervals(METRICS, accumulate(labels[order], probabilities[order], predictions[order], renamed[order]))
    for name, interval in result.items():
        assert (reordered[name].lo, reordered[name].hi) == pytest.approx((interval.lo, interval.hi), abs=1e-9), name


def test_intervals__are_wider_with_more_confidence():
    stats = accumulate(*make_set(20))
    narrow, wide = intervals(METRICS, stats, 0.8), intervals(METRICS, stats, 0.99)
    for name, interval in wide.items():
        assert interval.lo < narrow[name].lo
        assert interval.hi > narrow[name].hi


def test_intervals__auroc_has_delongs_standard_error_for_one_image_per_patient():
    """Compare with DeLong et al. 1988, using pairwise placements."""
    labels, probabilities, predictions, ids = make_set(60, seed=2, images=1)
    scores = probabilities[:, 1]
    wins = (scores[labels == 1][:, None] > scores[labels == 0][None]).astype(float)
    area = wins.mean()
    error = (wins.mean(axis=1).var(ddof=1) / 30 + wins.mean(axis=0).var(ddof=1) / 30) ** 0.5
    stats = accumulate(labels, probabilities, predictions, ids)
    design = jackknife(stats)
    left = design.leave_out(AUROC, stats)["auroc"]
    assert design.spread(left, 60, 0)[0] == pytest.approx(error, rel=1e-9)
    logit = reference.norm.ppf(0.975) * error / (area * (1 - area))
    ends = 1 / (1 + np.exp(-(np.log(area / (1 - area)) + np.array([-logit, logit]))))
    interval = intervals(AUROC, stats)["auroc"]
    assert (interval.lo, interval.hi) == pytest.approx(tuple(ends), abs=0.02)


def test_intervals__without_variation_depend_on_the_patients_of_the_metric():
    labels = np.repeat([0, 1], 10)
    result = intervals(METRICS, accumulate(labels, np.eye(2)[labels], labels, np.arange(20)))
    assert result["sensitivity"].hi == 1
    assert result["sensitivity"].lo == pytest.approx(0.025 ** (1 / 10))
    assert result["accuracy"].lo == pytest.approx(0.025 ** (1 / 20))
    assert result["auroc"].lo == pytest.approx(0.025 ** (1 / 20))


def test_intervals__without_errors_are_clopper_pearson():
    labels = np.repeat([0, 1], 10)
    result = intervals(METRICS, accumulate(labels, np.eye(2)[labels], labels, np.arange(20)), 0.9)
    exact = reference.binomtest(20, 20).proportion_ci(0.9, "exact")
    assert (result["accuracy"].lo, result["accuracy"].hi) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("patients", [1, 4])
def test_intervals__too_few_patients_have_no_interval(patients):
    for interval in intervals(METRICS, accumulate(*make_set(patients))).values():
        assert (interval.lo, interval.hi) == (None, None)
        assert (
            interval.reason == "undefined: no image has a class that the metric needs"
            or "an interval needs 5" in interval.reason
        )


def test_intervals__a_class_with_one_patient_has_no_interval():
    labels = np.array([0] * 9 + [1])
    result = intervals(METRICS, accumulate(labels, np.eye(2)[labels], labels, np.arange(10)))
    assert result["auroc"].value == 1
    assert result["auroc"].lo is None
    assert result["auroc"].as_dict()["reason"].startswith("number of patients without whom the metric is undefined: 1")
    assert result["accuracy"].as_dict().keys() == {"value", "lo", "hi"}


def test_intervals__undefined_metric_is_null():
    labels = np.zeros(10, np.int64)
    interval = intervals(METRICS, accumulate(labels, np.full((10, 2), 0.5), labels, np.arange(10)))["auroc"]
    assert interval == Interval(None, None, None, "undefined: no image has a class that the metric needs")


def test_intervals__unbounded_metric_is_equivariant_to_scale():
    stats = accumulate(*make_set(12))

    def scaled(a, b):
        return Metric("m", "m", "max", lambda weighted: a + b * weighted.auroc, bounds=(-np.inf, np.inf))

    plain, moved = (intervals([scaled(*ab)], stats)["m"] for ab in ((0, 1), (3, 10)))
    assert (moved.lo, moved.hi) == pytest.approx((3 + 10 * plain.lo, 3 + 10 * plain.hi))
    constant = intervals([scaled(3, 0)], stats)["m"]
    assert constant.lo is None
    assert "does not change if any patient is left out" in constant.reason


def test_paired_interval__is_students_for_one_image_per_patient():
    draw = np.random.default_rng(8)
    labels = np.zeros(40, np.int64)
    first, second = (draw.random(40) < rate for rate in (0.3, 0.6))
    sets = [accumulate(labels, np.eye(2)[wrong.astype(int)], wrong.astype(int), np.arange(40))
            for wrong in (first, second)]  # fmt: skip
    accuracy = [metric for metric in METRICS if metric.name == "accuracy"]
    interval = paired_interval(accuracy, *sets)["accuracy"]
    expected = reference.ttest_rel((~first).astype(float), (~second).astype(float))
    assert (interval.lo, interval.hi) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_paired_interval__changes_its_sign_with_the_order():
    labels, probabilities, predictions, ids = make_set(24, seed=3)
    other = accumulate(labels, *make_set(24, seed=3, signal=0.5)[1:])
    selected = accumulate(labels, probabilities, predictions, ids)
    forward, backward = paired_interval(METRICS, selected, other), paired_interval(METRICS, other, selected)
    for name, interval in forward.items():
        assert (backward[name].lo, backward[name].hi) == pytest.approx((-interval.hi, -interval.lo)), name


def test_paired_interval__of_equal_predictions_has_width():
    stats = accumulate(*make_set(20))
    interval = paired_interval(METRICS, stats, stats)["accuracy"]
    assert (interval.value, interval.lo, interval.hi) == pytest.approx(
        (0, 0.025 ** (1 / 20) - 1, 1 - 0.025 ** (1 / 20))
    )


def test_paired_interval__other_patients_are_an_error():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_interval(METRICS, accumulate(*make_set(8)), accumulate(*make_set(9)))


def test_difference_interval__simultaneous_intervals_are_wider():
    stats = accumulate(*make_set(20))
    design, metric = jackknife(stats), AUROC[0]
    left = design.leave_out(AUROC, stats)["auroc"] - 0.5
    single, simultaneous = (difference_interval(metric, 0.3, left, design, 20, 0.95, n) for n in (1, 6))
    assert simultaneous.lo < single.lo
    assert simultaneous.hi > single.hi


def test_intervals__many_images():
    result = intervals(METRICS, accumulate(*make_set(4000, 8, images=10)))
    assert 0.001 < result["auroc"].hi - result["auroc"].lo < 0.05


def test_intervals__metric_with_poor_coverage_has_no_interval():
    stats = accumulate(*make_set(20))
    without = [metric for metric in ALL if metric.no_interval]
    assert without
    for metric in without:
        for interval in (intervals(ALL, stats)[metric.name], paired_interval(ALL, stats, stats)[metric.name]):
            assert interval.value is not None
            assert (interval.lo, interval.hi, interval.reason) == (None, None, metric.no_interval)
