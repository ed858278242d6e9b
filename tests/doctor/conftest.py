"""A context for the checks of `medtune doctor`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from medtune.config.load import load
from medtune.doctor.check_result import Context
from medtune.runtime.paths import RunPaths


@pytest.fixture
def make_context() -> Callable[..., Context]:
    """Return a function that creates a context with the project params, changed by `sets`, for a run under `out`."""

    def make(out: Path, *sets: str) -> Context:
        return Context(load(sets=sets), RunPaths(out, out / "cache"))

    return make
