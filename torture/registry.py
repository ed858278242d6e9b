"""The scenarios, in the order of their numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.config import registry
from torture.outcome import Outcome

PACKAGE = "torture.scenarios"
LIMIT_S = 900.0


@dataclass(frozen=True)
class Scenario:
    """One file of torture/scenarios.

    Attributes:
        name: its file's name.
        number: its row in docs/reliability.md.
        title: what is injected, in a few words.
        target: what must hold.
        parts: (full) -> arguments of each part by the part's name; the small form, for `make test`, where not full.
        inject: (folder, **arguments) -> what came of it. `folder` is empty, and is cleared away afterwards.
        limit_s: seconds that a part may take; one that takes longer hangs, and is lost.
    """

    name: str
    number: int
    title: str
    target: str
    parts: Callable[[bool], dict[str, dict[str, Any]]]
    inject: Callable[..., Outcome]
    limit_s: float

    def run(self, part: str, folder: Path, full: bool = True) -> Outcome:
        """Does one part."""
        folder.mkdir(parents=True, exist_ok=True)
        return self.inject(folder, **self.parts(full)[part])


def load(name: str) -> Scenario:
    """The scenario in torture/scenarios/<name>.py.

    Raises:
        InputError: there is none.
    """
    found = registry.load_plugin(PACKAGE, name, "torture")
    limit_s = getattr(found, "LIMIT_S", LIMIT_S)
    return Scenario(name, found.NUMBER, found.TITLE, found.TARGET, found.parts, found.inject, limit_s)


def every() -> list[Scenario]:
    """All of them. Importing a scenario's file imports nothing heavy."""
    return sorted((load(name) for name in registry.plugin_names(PACKAGE)), key=lambda scenario: scenario.number)
