"""Interpolation between temperatures."""

import numpy as np
import pytest

from medtune.serving.volumes.confidence import log_ratios, scaled_confidence
from medtune.tasks.segmentation.temperature_grid import HIGHEST, LOWEST, NODES, TEMPERATURES, at_temperature


def test_temperatures__are_ascending_and_within_the_bounds():
    assert len(TEMPERATURES) == NODES
    assert LOWEST < TEMPERATURES[0] < TEMPERATURES[-1] < HIGHEST
    assert list(TEMPERATURES) == sorted(TEMPERATURES)


@pytest.mark.parametrize("classes", [2, 4, 30])
@pytest.mark.parametrize("spread", [0.5, 4.0, 15.0])
def test_at_temperature__gives_the_mean_confidence_between_the_nodes(classes, spread):
    logits = np.random.default_rng(0).normal(0, spread, (classes, 200))
    exponents = np.exp(logits - logits.max(axis=0))
    ratios = log_ratios(exponents / exponents.sum(axis=0))
    values = np.array([[scaled_confidence(ratios, node).mean(), np.nan] for node in TEMPERATURES])
    for temperature in np.geomspace(LOWEST, HIGHEST, 23).tolist():
        found = at_temperature(values, min(max(temperature, LOWEST), HIGHEST))
        assert found[0] == pytest.approx(scaled_confidence(ratios, temperature).mean(), abs=1e-5)
        assert np.isnan(found[1])


@pytest.mark.parametrize("temperature", [0.2, 4.1])
def test_at_temperature__refuses_other_temperatures(temperature):
    with pytest.raises(ValueError, match=r"expected 0\.25 to 4"):
        at_temperature(np.zeros(NODES), temperature)
