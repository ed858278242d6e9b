import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from medtune.config.schema import EvaluateParams
from medtune.evaluation.patient_ratios import ratio_intervals, sum_by_patient
from medtune.evaluation.projection import patients_to_halve, variance_of_ratio


@given(st.integers(2, 500), st.sampled_from([0.8, 0.95, 0.99]))
def test_patients_to_halve__is_the_smallest_number(n, confidence):
    def width(m):
        return t.ppf(0.5 + confidence / 2, m - 1) / np.sqrt(m)

    more = patients_to_halve(n, confidence)
    assert width(n + more) <= width(n) / 2
    assert more == 1 or width(n + more - 1) > width(n) / 2
    assert more <= 3 * n


def test_patients_to_halve__simulated_interval_is_half_as_wide():
    """Simulate the mean width with n patients and with the projected number of patients."""
    rng, n = np.random.default_rng(0), 13

    def width(patients: int) -> float:
        result = []
        for _ in range(60):
            share = 1 / (1 + np.exp(-rng.normal(0.3, 1, patients)))
            ids = np.repeat(np.arange(patients), 20)
            correct = rng.random(len(ids)) < share[ids]
            sums = {"recall": sum_by_patient(correct, np.ones(len(ids), bool), ids)}
            interval = ratio_intervals(sums, EvaluateParams())["recall"]
            result.append(interval.hi - interval.lo)
        return float(np.mean(result))

    assert width(n + patients_to_halve(n)) / width(n) == pytest.approx(0.5, abs=0.06)


def test_variance_of_ratio__of_a_mean_is_its_squared_standard_error():
    values = np.random.default_rng(1).random(25)
    sums = np.stack([values, np.ones(25)], axis=1)
    assert variance_of_ratio(sums) == pytest.approx(values.var(ddof=1) / 25)
    assert np.isnan(variance_of_ratio(np.array([[1.0, 1.0], [0.0, 0.0]])))
