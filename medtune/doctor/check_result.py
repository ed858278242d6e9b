"""Input and result of a check."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medtune.config.schema import Params
from medtune.doctor.subprocess_check import Questions
from medtune.runtime.paths import RunPaths


@dataclass(frozen=True)
class CheckResult:
    """One line of the report.

    Attributes:
        state: `wrong` means that the run would fail. `warning` means that the run would start, but with a disadvantage,
            for example without a recording in W&B.
        message: observed state.
        fix: how to fix the problem. Empty for `ok`.
        label: subject of the line, for checks with several lines.
    """

    state: Literal["ok", "warning", "wrong"]
    message: str
    fix: str = ""
    label: str = ""


def ok(message: str, label: str = "") -> CheckResult:
    """Return the result of a successful check."""
    return CheckResult("ok", message, "", label)


def warning(message: str, fix: str, label: str = "") -> CheckResult:
    """Return the result for a problem that does not stop the run."""
    return CheckResult("warning", message, fix, label)


def failure(message: str, fix: str, label: str = "") -> CheckResult:
    """Return the result for a problem that makes the run fail."""
    return CheckResult("wrong", message, fix, label)


@dataclass
class Context:
    """Planned run, and facts that earlier checks provide for later checks.

    Attributes:
        params: all params.
        paths: paths of the run.
        offline: True to contact no other machine.
        quick: True to skip measurements.
        facts: facts by name. A fact is missing if the check that provides it failed.
        questions: runs checks that need torch in subprocesses.
    """

    params: Params
    paths: RunPaths
    offline: bool = False
    quick: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    questions: Questions = field(default_factory=Questions)

    def require_space(self, folder: Path, size: float) -> None:
        """Record that the run will write about `size` bytes to `folder`."""
        needs = self.facts.setdefault("needs", {})
        needs[folder] = needs.get(folder, 0) + int(size)


def format_size(count: float) -> str:
    """Return a number of bytes as readable text."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} bytes"


def format_duration(seconds: float) -> str:
    """Return a number of seconds as readable text."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
