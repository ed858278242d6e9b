"""The small form of a scenario, as every scenario's test runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from torture.outcome import Outcome
from torture.registry import load


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Outcome]:
    """Runs a scenario's small form, or one part of it, in this process."""

    def run(name: str, part: str | None = None) -> Outcome:
        scenario, whole = load(name), Outcome()
        for one in [part] if part else scenario.parts(False):
            whole.add(scenario.run(one, tmp_path / one, full=False))
        return whole

    return run
