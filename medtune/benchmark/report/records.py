"""Record of a trial for the report: its identity, status and result."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medtune.benchmark.grid import TrialId
from medtune.config.schema import DEFAULT_TASK

# Reference methods. Tables and plots highlight them.
BASELINES = ("linear", "full", "cdtm")
FULL = "full"


def kind_of(results: Iterable[dict[str, Any]]) -> str:
    """Return the task kind in the first result.json that contains one; the default kind if none does."""
    kinds = (result.get("params", {}).get("task", {}).get("kind") for result in results)
    return next((kind for kind in kinds if kind), DEFAULT_TASK)


@dataclass(frozen=True)
class TrialRecord:
    """Record of one trial, which may be finished, failed or pending.

    Attributes:
        identity: identity of the trial.
        folder: folder with predictions.csv; None if the trial is not finished.
        result: content of result.json; None if the trial is not finished.
        error: error message; None if the trial did not fail.
    """

    identity: TrialId
    folder: Path | None
    result: dict[str, Any] | None
    error: str | None

    @property
    def kind(self) -> str:
        """Task kind of the trial."""
        return kind_of([self.result or {}])

    @property
    def status(self) -> Literal["done", "failed", "pending"]:
        """Status of the trial."""
        if self.folder is not None and self.result is not None:
            return "done"
        return "failed" if self.error is not None else "pending"
