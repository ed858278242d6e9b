"""What a check gives back, and what it is given."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medtune.config.schema import Params
from medtune.runtime.paths import Paths


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        state: `wrong` would stop or spoil the run; `warning` should be known before it begins.
        found: what is there.
        todo: what to do about it; empty where it is ok.
        label: what was checked, where a check gives several lines.
    """

    state: Literal["ok", "warning", "wrong"]
    found: str
    todo: str = ""
    label: str = ""


def ok(found: str, label: str = "") -> Finding:
    """Nothing to do."""
    return Finding("ok", found, "", label)


def warning(found: str, todo: str, label: str = "") -> Finding:
    """The run goes on, but not as it should."""
    return Finding("warning", found, todo, label)


def wrong(found: str, todo: str, label: str = "") -> Finding:
    """The run would fail."""
    return Finding("wrong", found, todo, label)


@dataclass
class Job:
    """The run that is asked about, and what earlier checks learnt of it for later ones.

    Attributes:
        params: all params.
        paths: where the run would read and write.
        offline: ask nothing outside this machine.
        quick: measure nothing.
        facts: by name; a check does without what is not there, since the one that learns it may have failed.
    """

    params: Params
    paths: Paths
    offline: bool = False
    quick: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def need(self, folder: Path, size: float) -> None:
        """Notes that the run will put about `size` bytes into `folder`."""
        needs = self.facts.setdefault("needs", {})
        needs[folder] = needs.get(folder, 0) + int(size)


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
