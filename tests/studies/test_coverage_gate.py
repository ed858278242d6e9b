"""Simulated errors of the gate with fewer datasets than docs/statistics.md and fixed seeds."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import binom

from medtune.config.evaluation import EvaluateParams
from medtune.config.schema import GateParams
from medtune.evaluation.gate import decide
from medtune.evaluation.gate_decision import ModelStats
from studies import coverage_gate
from studies.coverage_sets import Model, draw_classes

METRICS = coverage_gate.compared(coverage_gate.OF_CLASSES)
SETS = 120


@pytest.mark.parametrize("sizes", [(2, 3), (3, 5), (10, 10)])
def test_promotions__rare_if_the_models_are_equal(sizes):
    draw = partial(draw_classes, sizes=sizes, models=coverage_gate.EQUAL)
    shares = coverage_gate.promotions(draw, METRICS, SETS, both=True)
    assert len(shares) == len(METRICS) - 1  # kappa requires ordinal labels
    highest = binom.ppf(1 - 1e-4, 2 * SETS, coverage_gate.LIMIT) / (2 * SETS)
    assert {name: share for name, share in shares.items() if share > highest} == {}


def test_promotions__agree_with_the_decision_of_the_gate():
    models = (Model(2.0), Model(1.0))
    draw = partial(draw_classes, sizes=(8, 8), models=models)
    metrics = [metric for metric in METRICS if metric.name in ("balanced_accuracy", "brier")]
    shares = coverage_gate.promotions(draw, metrics, 12, both=False)
    for metric in metrics:
        count = 0
        for number in range(12):
            new, old = draw(np.random.default_rng([number, 7]))
            sides = ModelStats("new", new), ModelStats("old", old)
            params = GateParams(metric=metric.name)
            count += decide(*sides, new.width, metric, [], params, EvaluateParams()).promoted
        assert 0 < count == round(12 * shares[metric.name]), metric.name


def test_exceeding__names_cells_beyond_two_standard_errors():
    tables = {"two classes": {"3 + 3": {"accuracy": 0.026, "brier": 0.05}}}
    assert coverage_gate.exceeding(tables, 1000) == ["gate, two classes, 3 + 3 patients, brier: 5.0 % promoted"]
