"""Default learning rates of the PEFT methods and heads."""

import pytest

from medtune.config import registry

PLUGINS = [
    (package, name)
    for package in ("medtune.models.peft", "medtune.models.heads")
    for name in registry.plugin_names(package)
]


@pytest.mark.parametrize(("package", "name"), PLUGINS)
def test_plugin__has_a_grid_of_learning_rates(package, name):
    rates = registry.load_plugin(package, name, package).LR_GRID
    assert len(rates) >= 2
    assert all(0 < rate < 1 for rate in rates)
    assert list(rates) == sorted(set(rates))
