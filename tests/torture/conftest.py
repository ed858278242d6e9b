"""The small form of a scenario, as every scenario's test runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.torture import small as forms
from torture.outcome import Outcome


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Outcome]:
    """Runs a scenario's small form, or one part of it, in this process."""

    def run(name: str, part: str | None = None) -> Outcome:
        return forms.small(name, tmp_path, part)

    return run


@pytest.fixture
def small_alone(tmp_path: Path) -> Callable[..., Outcome]:
    """The same in a process of its own."""

    def run(name: str, part: str | None = None, idle: forms.Idle | None = None) -> Outcome:
        return forms.small_alone(name, tmp_path, part, idle)

    return run
