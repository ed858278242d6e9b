from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.evaluation.jackknife import MAX_GROUPS, jackknife
from medtune.evaluation.metric import Metric, compute
from medtune.tasks.classification.metrics import METRICS
from medtune.tasks.classification.statistics import accumulate


def make_stats(patients, seed=0, images=4, classes=2):
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(patients) % classes, images)
    scores = draw.normal(0, 1, (len(labels), classes)) + 1.5 * np.eye(classes)[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    ids = np.repeat([f"p{n:05}" for n in range(patients)], images)
    return accumulate(labels, probabilities, probabilities.argmax(axis=1), ids)


def test_leave_out__equals_metrics_of_the_other_patients():
    stats = make_stats(14, classes=3)
    design = jackknife(stats)
    left = design.leave_out(METRICS, stats)
    for patient in range(14):
        weights = np.ones((1, 14))
        weights[0, patient] = 0
        for name, value in compute(METRICS, stats, weights).items():
            assert left[name][design.group[patient]] == pytest.approx(value[0], abs=1e-12)


@dataclass
class Values:
    """Statistics with one value per patient."""

    values: np.ndarray
    n_patients = property(lambda self: len(self.values))
    width = 1

    def weighted(self, weights):
        return weights @ self.values


@given(st.integers(2, 450), st.integers(1, 4), st.integers(0, 10**6))
def test_leave_out__omits_each_patient_once(patients, strata, seed):
    random = np.random.default_rng(seed)
    stats = Values(random.random(patients))
    design = jackknife(stats, random.integers(0, strata, patients))
    total = stats.values.sum()
    omitted = total - design.leave_out([Metric("total", "total", "max", lambda totals: totals)], stats)["total"]
    assert omitted.min() > 0
    assert omitted.sum() == pytest.approx(total)
    if patients <= MAX_GROUPS:
        assert np.sort(omitted) == pytest.approx(np.sort(stats.values))


def test_spread__of_a_mean_is_its_standard_error():
    values = np.random.default_rng(3).normal(size=30)
    design = jackknife(make_stats(30, images=1), np.zeros(30, np.int64))
    left = np.array([np.delete(values, k).mean() for k in range(30)])[np.argsort(design.group)]
    error, degrees = design.spread(left, 30, 1)
    assert error == pytest.approx(values.std(ddof=1) / 30**0.5)
    assert degrees == pytest.approx(29)


def test_spread__of_a_difference_of_strata_is_welchs():
    draw = np.random.default_rng(4)
    first, second = draw.normal(0, 1, 6), draw.normal(0, 3, 15)
    both, strata = np.r_[first, second], np.r_[np.zeros(6, np.int64), np.ones(15, np.int64)]
    design = jackknife(make_stats(21, images=1), strata)
    left = np.array(
        [both[(strata == 0) & (np.arange(21) != k)].mean() - both[(strata == 1) & (np.arange(21) != k)].mean()
         for k in range(21)]
    )  # fmt: skip
    a, b = first.var(ddof=1) / 6, second.var(ddof=1) / 15
    error, degrees = design.spread(left, 21, 1)
    assert error == pytest.approx((a + b) ** 0.5)
    assert degrees == pytest.approx((a + b) ** 2 / (a**2 / 5 + b**2 / 14))
    assert design.spread(left, 4, 1)[1] == 3


def test_jackknife__many_patients_form_groups_except_in_rare_classes():
    labels = np.zeros(5000, np.int64)
    labels[::500] = 1
    stats = accumulate(labels, np.full((5000, 2), 0.5), labels, np.arange(5000))
    design = jackknife(stats)
    assert design.n_groups <= MAX_GROUPS
    rare = design.group[labels == 1]
    assert len(np.unique(rare)) == 10
    assert not np.isin(rare, design.group[labels == 0]).any()
    sizes = np.bincount(design.group)[np.unique(design.group[labels == 0])]
    assert sizes.max() - sizes.min() <= 1


def test_jackknife__groups_give_the_standard_error_of_single_patients():
    stats = make_stats(1200, images=3)
    sensitivity = [metric for metric in METRICS if metric.name == "sensitivity"]
    design = jackknife(stats)
    error = design.spread(design.leave_out(sensitivity, stats)["sensitivity"], 600, 0)[0]
    weights = 1 - np.eye(1200)[stats.strata == 1]
    single = compute(sensitivity, stats, weights)["sensitivity"]
    assert len(single) == 600
    # 100 groups: a standard deviation of 7 %.
    assert error == pytest.approx((599 / 600 * ((single - single.mean()) ** 2).sum()) ** 0.5, rel=0.25)


def test_jackknife__a_class_of_one_patient_joins_another_stratum():
    labels = np.array([0] * 9 + [1])
    design = jackknife(accumulate(labels, np.eye(2)[labels], labels, np.arange(10)))
    assert design.n_groups == 10
    assert len(design.degrees(1)) == 1


def test_jackknife__patients_of_unequal_size_have_fewer_degrees_of_freedom():
    labels = np.zeros(103, np.int64)
    ids = np.r_[np.zeros(100, np.int64), [1, 2, 3]]
    design = jackknife(accumulate(labels, np.full((103, 2), 0.5), labels, ids))
    assert design.degrees(1) == pytest.approx([1.0])
    assert design.degrees(0) == pytest.approx([3.0])


def test_degrees__decrease_with_the_similarity_of_a_patients_images():
    labels = np.zeros(30, np.int64)
    ids = np.r_[np.zeros(20, np.int64), np.arange(1, 11)]
    design = jackknife(accumulate(labels, np.full((30, 2), 0.5), labels, ids))
    result = [float(design.degrees(power)[0]) for power in (0, 1, 1.5, 2)]
    assert result[0] == 10
    assert result[1] == pytest.approx(30**2 / (20**2 + 10) - 1)
    assert result == sorted(result, reverse=True)
