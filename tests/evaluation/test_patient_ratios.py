import numpy as np
import pytest

from medtune.config.schema import EvaluateParams
from medtune.evaluation.patient_ratios import ratio_intervals, sum_by_patient


def test_sum_by_patient__images_or_patients_count_equally():
    values, patients = np.array([1, 1, 1, 0]), np.array(["a", "a", "a", "b"])
    counted = np.ones(4, bool)
    images = sum_by_patient(values, counted, patients).sum(axis=0)
    equal = sum_by_patient(values, counted, patients, equal=True).sum(axis=0)
    assert images[0] / images[1] == 0.75
    assert equal[0] / equal[1] == pytest.approx(0.5)


def test_ratio_intervals__value_interval_and_undefined():
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 20, 200)
    values = rng.random(200) < 0.7
    sums = {
        "share": sum_by_patient(values, np.ones(200, bool), patients),
        "none": sum_by_patient(values, np.zeros(200, bool), patients),
    }
    result = ratio_intervals(sums, EvaluateParams())
    assert result["share"].value == pytest.approx(values.mean())
    assert result["share"].lo < result["share"].value < result["share"].hi
    assert result["none"].value is None
    assert result["none"].reason
