"""Segmentation metrics and their intervals over patients."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medtune.evaluation.intervals import intervals, paired_interval
from medtune.evaluation.metric import compute, values
from medtune.tasks.segmentation.case_metrics import LabelMetrics, case_metrics
from medtune.tasks.segmentation.metrics import METRICS, REPORTED, example, label_metrics, score
from medtune.tasks.segmentation.statistics import QUANTITIES, accumulate

PROJECT = Path(__file__).resolve().parents[3]
NAMES = [f"p{number}" for number in range(24)]


def test_metrics__are_averages_over_volumes_and_then_labels():
    stats = example(NAMES, 0)
    averages, by_label = values(METRICS, stats), values(label_metrics(stats.labels), stats)
    assert list(averages) == list(QUANTITIES) == [quantity.name for quantity in REPORTED]
    for name, value in averages.items():
        assert value == pytest.approx(np.mean([by_label[f"{name}/{label}"] for label in ("organ", "lesion")]))


def test_metrics__label_names_are_unique():
    names = [metric.name for metric in (*METRICS, *label_metrics(("organ", "lesion")))]
    assert len(set(names)) == len(names) == 3 * len(REPORTED)
    assert {"dice", "dice/organ", "nsd/lesion", "hd95", "volume_error/organ"} <= set(names)


@pytest.mark.parametrize("metric", [*METRICS, *label_metrics(("organ", "lesion"))], ids=lambda metric: metric.name)
def test_intervals__contain_the_value_within_the_bounds(metric):
    interval = intervals([metric], example(NAMES, 1))[metric.name]
    assert interval.reason is None
    assert metric.bounds[0] <= interval.lo < interval.value < interval.hi <= metric.bounds[1]


def test_intervals__few_patients_have_no_interval_of_hd95():
    result = intervals(METRICS, example(NAMES[:12], 0))
    assert result["hd95"].value is not None
    assert "needs 20" in result["hd95"].reason
    assert result["dice"].reason is None


def test_intervals__volumes_of_a_patient_count_as_one_patient():
    draw = np.random.default_rng(0)
    by_patient = np.repeat(draw.uniform(0.3, 0.9, 20), 5)
    cases = [(LabelMetrics("organ", 1, 1, dice, 1, 1, 1, 1),) for dice in by_patient]
    grouped = intervals(METRICS, accumulate(cases, np.arange(100) // 5))["dice"]
    separate = intervals(METRICS, accumulate(cases, np.arange(100)))["dice"]
    assert grouped.value == pytest.approx(separate.value)
    assert grouped.hi - grouped.lo > 1.8 * (separate.hi - separate.lo)


def test_paired_interval__of_the_same_predictions_contains_zero():
    stats = example(NAMES, 2)
    same = paired_interval(METRICS, stats, stats)
    assert {interval.value for interval in same.values()} == {0}
    assert same["dice"].lo < 0 < same["dice"].hi


def test_score__of_exact_and_empty_predictions():
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[1:3] = 1
    exact = case_metrics(truth, truth, (1, 1, 1), {"organ": 1}, distances=False)
    missed = case_metrics(truth, 0 * truth, (1, 1, 1), {"organ": 1}, distances=False)
    assert score([exact]) == {"dice": 1}
    assert score([exact, missed]) == {"dice": 0.5}
    assert math.isnan(score([case_metrics(0 * truth, truth, (1, 1, 1), {"organ": 1})])["dice"])


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("seed", range(3))
def test_example__weight_is_equivalent_to_repetition(metric, seed):
    times = np.random.default_rng(seed).integers(0, 4, len(NAMES))
    repeated = [name for name, n in zip(NAMES, times, strict=True) for _ in range(n)]
    weighted = compute([metric], example(NAMES, seed), times[None].astype(float))[metric.name]
    np.testing.assert_allclose(weighted, compute([metric], example(repeated, seed))[metric.name], rtol=1e-9)


def test_metrics__import_no_heavy_packages():
    code = (
        "import sys, medtune.tasks.segmentation.metrics\n"
        "heavy = {'torch', 'monai', 'scipy', 'nibabel', 'matplotlib'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
