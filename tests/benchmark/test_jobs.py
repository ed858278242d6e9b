"""Params of the run that records a benchmark."""

import pytest

from medtune.benchmark import jobs
from medtune.benchmark.grid import load_grid
from medtune.config.errors import InputError
from medtune.config.project import PROJECT

GRIDS = sorted((PROJECT / "recipes").glob("benchmark-*.yaml"))


def summary_params(*sets, grid_file=None):
    grid, tree = load_grid(grid_file, sets)
    first, *_ = jobs.list_trials(grid, tree).values()
    return jobs.summary_params(tree, first)


@pytest.mark.parametrize("recipe", GRIDS, ids=lambda path: path.stem)
def test_summary_params__of_every_grid_are_valid(recipe):
    """A grid may have the section `data`, without which the task of the other sections is refused."""
    params = summary_params("tracking.mode=offline", grid_file=recipe)
    assert params.tracking.mode == "offline"
    assert params.data.has_volumes is ("hippocampus" in recipe.stem)


def test_summary_params__invalid_tracking_is_an_error():
    with pytest.raises(InputError, match=r"tracking\.mode=on: expected"):
        summary_params("tracking.mode=on")
