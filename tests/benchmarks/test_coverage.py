"""The simulation behind docs/statistics.md, with fewer sets and fixed seeds."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import coverage
from benchmarks.coverage_sets import Model, class_sizes, draw_classes

SETS = 150
# Intervals that contain the truth in 95 % of sets fall below this in one of 100,000 tests.
FEWEST = int(binom.ppf(1e-5, SETS, 0.92))


@pytest.mark.parametrize("kind", ["two classes", "three classes"])
def test_cover__intervals_of_classes_contain_the_truth(kind):
    found = coverage.cover_classes(kind, SETS, (8, 20))
    for patients, by_metric in found.items():
        for name, (hits, n) in by_metric.items():
            assert n > 0.7 * SETS or (name == "confidence_gap" and patients < 20), name
            assert hits >= FEWEST - (SETS - n), name


def test_cover__paired_differences_contain_the_truth():
    for by_metric in coverage.cover_differences(SETS, (12,)).values():
        assert {name: hits for name, (hits, n) in by_metric.items() if hits < FEWEST - (SETS - n)} == {}


def test_cover__intervals_of_findings_contain_the_truth():
    for by_metric in coverage.cover_findings(SETS, (12,)).values():
        assert {name: hits for name, (hits, n) in by_metric.items() if hits < FEWEST - (SETS - n)} == {}


@pytest.mark.parametrize("sizes", [(2, 3), (3, 5), (10, 10)])
def test_promoted__rarely_if_the_models_are_equal(sizes):
    share = coverage.promoted(sizes, (Model(), Model()), "balanced_accuracy", SETS)
    assert share * SETS <= binom.ppf(1 - 1e-4, SETS, 0.025)


def test_promoted__often_if_the_model_is_much_better():
    assert coverage.promoted((10, 10), (Model(3), Model(0.5)), "balanced_accuracy", 20) > 0.5


def test_true_values__follow_the_shares_of_the_classes():
    (large,) = draw_classes(np.random.default_rng(1), (400, 400))
    accuracy = [metric for metric in coverage.OF_CLASSES if metric.name in ("accuracy", "sensitivity", "specificity")]
    found = coverage.true_values(accuracy, large, [1, 0])
    assert found["accuracy"] == pytest.approx(found["specificity"])
    assert class_sizes("two classes", 8).tolist() == [3, 5]
    assert class_sizes("three classes", 8).tolist() == [3, 3, 2]


def test_lines__name_the_share_of_sets_without_an_interval():
    found = {8: {"auroc": (190, 200), "calibration_slope": (95, 100)}}
    lines = coverage.coverage_lines("title", found, 200)
    assert lines[2:4] == ["| auroc | 95.0 |", "| calibration slope | 95.0 (50 %) |"]
