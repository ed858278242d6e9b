"""What a check gives back, and what it is given."""

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
        state: `failure` would stop or spoil the run; `warning` should be known before it begins.
        message: what is there.
        fix: what to do about it; empty where it is ok.
        label: what was checked, where a check gives several lines.
    """

    state: Literal["ok", "warning", "wrong"]
    message: str
    fix: str = ""
    label: str = ""


def ok(message: str, label: str = "") -> CheckResult:
    """Nothing to do."""
    return CheckResult("ok", message, "", label)


def warning(message: str, fix: str, label: str = "") -> CheckResult:
    """The run goes on, but not as it should."""
    return CheckResult("warning", message, fix, label)


def failure(message: str, fix: str, label: str = "") -> CheckResult:
    """The run would fail."""
    return CheckResult("wrong", message, fix, label)


@dataclass
class Context:
    """The run that is asked about, and what earlier checks learnt of it for later ones.

    Attributes:
        params: all params.
        paths: where the run would read and write.
        offline: ask nothing outside this machine.
        quick: measure nothing.
        facts: by name; a check does without what is not there, since the one that learns it may have failed.
        questions: asks what needs torch.
    """

    params: Params
    paths: RunPaths
    offline: bool = False
    quick: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    questions: Questions = field(default_factory=Questions)

    def require_space(self, folder: Path, size: float) -> None:
        """Notes that the run will put about `format_size` bytes into `folder`."""
        needs = self.facts.setdefault("needs", {})
        needs[folder] = needs.get(folder, 0) + int(size)


def format_size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} bytes"


def format_duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
