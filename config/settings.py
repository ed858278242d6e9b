"""The environment: where things lie and what the machine offers. Never a hashed parameter."""

import os
from dataclasses import dataclass
from pathlib import Path

from config.registry import PROJECT


@dataclass(frozen=True)
class Paths:
    """Where one run reads and writes.

    Attributes:
        out: folder that holds `data/prepared` and `artifacts`.
        cache: content-addressed store of what can be recomputed (features, logits, task results).
    """

    out: Path
    cache: Path

    @classmethod
    def at(cls, out: Path | str | None = None) -> "Paths":
        """The checkout's own paths, or those under `out`; `$MEDTUNE_CACHE` moves the cache."""
        base = Path(out).resolve() if out else PROJECT
        return cls(base, Path(os.environ.get("MEDTUNE_CACHE") or PROJECT / ".cache").resolve())

    @property
    def prepared(self) -> Path:
        return self.out / "data" / "prepared"

    def stage(self, stage: str, fold: int | None = None) -> Path:
        """`artifacts/<stage>`, or `artifacts/<stage>/fold-<k>` for a stage that runs once a fold."""
        folder = self.out / "artifacts" / stage
        return folder if fold is None else folder / f"fold-{fold}"


def device_name() -> str:
    """`$MEDTUNE_DEVICE` (cpu, cuda, cuda:1, mps) or the best one there is. Imports torch."""
    import torch

    if named := os.environ.get("MEDTUNE_DEVICE"):
        return named
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
