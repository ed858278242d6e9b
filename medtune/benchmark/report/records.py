"""One trial of the benchmark's grid: a method on a backbone, a share of the training patients, a seed."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medtune.benchmark.grid import TrialId
from medtune.config.schema import DEFAULT_TASK

# What the PEFT methods are held against; the table and the pictures mark them.
BASELINES = ("linear", "full", "cdtm")
FULL = "full"


def kind_of(results: Iterable[dict[str, Any]]) -> str:
    """Task of some result.json files."""
    kinds = (result.get("params", {}).get("task", {}).get("kind") for result in results)
    return next((kind for kind in kinds if kind), DEFAULT_TASK)


@dataclass(frozen=True)
class TrialRecord:
    """What became of one trial.

    Attributes:
        identity: its place in the grid.
        folder: holds predictions.csv; None where it is not done.
        result: content of its result.json; None where it is not done.
        error: why it failed; None where it did not.
    """

    identity: TrialId
    folder: Path | None
    result: dict[str, Any] | None
    error: str | None

    @property
    def kind(self) -> str:
        """Its task."""
        return kind_of([self.result or {}])

    @property
    def status(self) -> Literal["done", "failed", "pending"]:
        """What became of it, in one word."""
        if self.folder is not None and self.result is not None:
            return "done"
        return "failed" if self.error is not None else "pending"
