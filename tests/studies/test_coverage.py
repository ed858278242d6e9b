"""Simulation of docs/statistics.md with fewer datasets and fixed seeds."""

import numpy as np
import pytest
from scipy.stats import binom

from studies import coverage
from studies.coverage_sets import class_sizes, draw_classes

SETS = 150
# Fewer hits have a probability of 1 in 100,000 for an interval with sufficient coverage.
FEWEST = int(binom.ppf(1e-5, SETS, 0.92))


@pytest.mark.parametrize("kind", ["two classes", "three classes"])
def test_cover__intervals_of_classes_contain_the_truth(kind):
    hits_by_patients = coverage.cover_classes(kind, SETS, (8, 20))
    for patients, by_metric in hits_by_patients.items():
        for name, (hits, n) in by_metric.items():
            few = name in ("confidence_gap", "calibration_slope") or name[-1] in "012" or name == "specificity"
            assert n > 0.7 * SETS or (few and patients < 20), name
            assert hits >= FEWEST - (SETS - n), name


def test_cover__paired_differences_contain_the_truth():
    for by_metric in coverage.cover_differences(SETS, (12,)).values():
        assert {name: hits for name, (hits, n) in by_metric.items() if hits < FEWEST - (SETS - n)} == {}


def test_cover__intervals_of_findings_contain_the_truth():
    for by_metric in coverage.cover_findings(SETS, (12,)).values():
        assert {name: hits for name, (hits, n) in by_metric.items() if hits < FEWEST - (SETS - n)} == {}


def test_outside__names_cells_beyond_two_standard_errors():
    hits = {8: {"auroc": (190, 200), "brier": (150, 200), "accuracy": (200, 200), "f1_0": (1, 2)}}
    lines = coverage.outside("title", hits, 200)
    assert lines == [
        "title, 8 patients, brier: 75.0 % of 200 intervals",
        "title, 8 patients, accuracy: 100.0 % of 200 intervals",
    ]


def test_true_values__follow_the_shares_of_the_classes():
    (large,) = draw_classes(np.random.default_rng(1), (400, 400))
    accuracy = [metric for metric in coverage.OF_CLASSES if metric.name in ("accuracy", "sensitivity", "specificity")]
    values = coverage.true_values(accuracy, large, [1, 0])
    assert values["accuracy"] == pytest.approx(values["specificity"])
    assert class_sizes("two classes", 8).tolist() == [3, 5]
    assert class_sizes("three classes", 8).tolist() == [3, 3, 2]


def test_lines__name_the_share_of_sets_without_an_interval():
    hits = {8: {"auroc": (190, 200), "calibration_slope": (95, 100)}}
    lines = coverage.coverage_lines("title", hits, 200)
    assert lines[2:4] == ["| auroc | 95.0 |", "| calibration slope | 95.0 (50 %) |"]
