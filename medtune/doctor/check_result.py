"""Input and result of a check of `medtune doctor`."""

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
        state: `wrong` means that the run would fail. `warning` means that the run would start, but has a disadvantage.
            For example, it is not recorded in W&B.
        message: what the check has found.
        fix: how to fix the problem; empty for `ok`.
        label: name of the line; empty for the name of the check.
    """

    state: Literal["ok", "warning", "wrong"]
    message: str
    fix: str = ""
    label: str = ""


def ok(message: str, label: str = "") -> CheckResult:
    """Return the result of a successful check."""
    return CheckResult("ok", message, "", label)


def warning(message: str, fix: str, label: str = "") -> CheckResult:
    """Return the result for a problem with which the run would start."""
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
        facts: facts by name, for example the number of images. A fact is missing if its check failed.
        questions: runner of checks that need torch, in subprocesses.
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
