import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.evaluation.net_benefit import THRESHOLDS, decision_curve, useful_range, write_decision_curves
from medtune.evaluation.net_benefit_plot import draw_decision_curves


def test_decision_curve__equals_manual_values():
    positive = np.array([True, True, False, False, False])
    curve = decision_curve(positive, np.array([0.9, 0.3, 0.6, 0.1, 0.05]))
    at = {round(t, 2): k for k, t in enumerate(THRESHOLDS)}
    assert curve.model[at[0.5]] == pytest.approx(1 / 5 - 1 / 5)
    assert curve.model[at[0.2]] == pytest.approx(2 / 5 - 1 / 5 * 0.25)
    assert curve.model[at[0.8]] == pytest.approx(1 / 5)
    assert curve.treat_all[at[0.2]] == pytest.approx(0.4 - 0.6 * 0.25)


@given(st.integers(0, 10**6))
def test_decision_curve__never_above_prevalence_and_equal_to_treat_all_for_certainty(seed):
    rng = np.random.default_rng(seed)
    positive = rng.random(30) < 0.4
    curve = decision_curve(positive, rng.random(30))
    assert (curve.model <= positive.mean() + 1e-12).all()
    np.testing.assert_allclose(decision_curve(positive, np.ones(30)).model, curve.treat_all, atol=1e-12)
    assert (decision_curve(positive, np.zeros(30)).model == 0).all()
    np.testing.assert_allclose(decision_curve(positive, positive.astype(float)).model, positive.mean())


def test_useful_range__is_the_longest_range():
    positive = np.arange(20) < 8
    assert useful_range(decision_curve(positive, np.zeros(20))) is None
    low, high = useful_range(decision_curve(positive, np.where(positive, 0.7, 0.3)))
    assert (low, high) == pytest.approx((0.31, 0.7))


def test_decision_curves__files(tmp_path):
    positive = np.arange(20) < 8
    curves = {f"finding {k}": decision_curve(positive, np.linspace(1, 0, 20)) for k in range(14)}
    write_decision_curves(tmp_path / "c.csv", curves)
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 1 + 14 * 99
    for name, drawn in (("one", dict(list(curves.items())[:1])), ("many", curves), ("none", {})):
        draw_decision_curves(tmp_path / f"{name}.png", drawn, "test")
        assert (tmp_path / f"{name}.png").stat().st_size > 2000
