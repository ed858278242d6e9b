"""One cell of the benchmark's grid: a method on a backbone, a share of the training patients, a seed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medtune.benchmark.grid import Identity

# What the PEFT methods are held against; the table and the pictures mark them.
BASELINES = ("linear", "full", "cdtm")
FULL = "full"


@dataclass(frozen=True)
class Cell:
    """What became of one cell.

    Attributes:
        identity: its place in the grid.
        folder: holds predictions.csv; None where it is not done.
        result: content of its result.json; None where it is not done.
        error: why it failed; None where it did not.
    """

    identity: Identity
    folder: Path | None
    result: dict[str, Any] | None
    error: str | None

    @property
    def status(self) -> Literal["done", "failed", "pending"]:
        """What became of it, in one word."""
        if self.folder is not None and self.result is not None:
            return "done"
        return "failed" if self.error is not None else "pending"
