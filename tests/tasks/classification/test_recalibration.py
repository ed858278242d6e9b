import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from medtune.tasks.classification.metrics import METRICS, compute_all
from medtune.tasks.classification.recalibration import fit_intercept, fit_slope, logit
from medtune.tasks.classification.statistics import accumulate


def make_case(n=300, slope=0.6, intercept=-0.8, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.normal(0, 2, n)
    y = (draw.random(n) < 1 / (1 + np.exp(-(intercept + slope * x)))).astype(float)
    return x, y, draw.integers(0, 3, (5, n)).astype(float)


@pytest.mark.parametrize("seed", range(4))
def test_fit_slope__equals_scikit_learn_and_solves_score_equations(seed):
    x, y, weights = make_case(seed=seed)
    for row, (a, b) in zip(weights, fit_slope(x, y, weights), strict=True):
        expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x[:, None], y, sample_weight=row)
        assert (a, b) == pytest.approx((expected.intercept_[0], expected.coef_[0, 0]), abs=1e-4)
        residual = row * (y - 1 / (1 + np.exp(-(a + b * x))))
        assert abs(residual.sum()) < 1e-8
        assert abs(residual @ x) < 1e-8


def test_fit_slope__independent_of_start():
    x, y, weights = make_case()
    far = fit_slope(x, y, weights, np.array([-3.0, 5.0]))
    np.testing.assert_allclose(far, fit_slope(x, y, weights), rtol=1e-9)


def test_fit_slope__nan_for_separated_or_single_outcomes():
    x = np.arange(20.0) - 9.5
    assert np.isnan(fit_slope(x, (x > 0).astype(float), np.ones((1, 20)))).all()
    assert np.isnan(fit_slope(x, (x < 0).astype(float), np.ones((1, 20)))).all()
    assert np.isnan(fit_slope(x, np.ones(20), np.ones((1, 20)))).all()
    assert np.isnan(fit_slope(np.zeros(20), (x > 0).astype(float), np.ones((1, 20)))).all()


def test_fit_intercept__corrects_mean_probability():
    x, y, weights = make_case()
    for row, a in zip(weights, fit_intercept(x, y, weights), strict=True):
        assert row @ (1 / (1 + np.exp(-(a + x)))) == pytest.approx(row @ y)
    assert np.isnan(fit_intercept(x, np.ones(300), weights)).all()


def test_logit__certain_probabilities_stay_finite():
    assert np.isfinite(logit(np.array([0, 1], np.float32))).all()


def test_metrics__stretched_and_shifted_probabilities():
    x, y, _ = make_case(20_000, 0.5, 0.0, 3)
    stated = 1 / (1 + np.exp(-x))
    probabilities = np.stack([1 - stated, stated], axis=1)
    result = compute_all(y.astype(np.int64), probabilities, probabilities.argmax(axis=1), np.arange(20_000))
    assert result["calibration_slope"] == pytest.approx(0.5, abs=0.05)
    assert result["calibration_intercept"] == pytest.approx(0, abs=0.05)
    assert result["confidence_gap"] > 0.05
    assert result["brier"] == pytest.approx(((stated - y) ** 2).mean())


def test_metrics__several_classes_use_most_probable_class():
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet([0.7, 0.7, 0.7], 30_000)
    labels = (draw.random(30_000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    stats = accumulate(labels, probabilities, probabilities.argmax(axis=1), np.arange(30_000))
    result = compute_all(labels, probabilities, probabilities.argmax(axis=1), np.arange(30_000))
    assert stats.outcomes.mean() == pytest.approx(result["accuracy"])
    assert result["calibration_slope"] == pytest.approx(1, abs=0.1)
    assert result["calibration_intercept"] == pytest.approx(0, abs=0.1)
    assert result["confidence_gap"] == pytest.approx(0, abs=0.01)
    assert {metric.target for metric in METRICS if metric.direction == "target"} == {0.0, 1.0}
