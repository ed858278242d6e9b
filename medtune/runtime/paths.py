"""Where a run reads and writes. Paths never enter a cache key."""

import os
from dataclasses import dataclass
from pathlib import Path

from medtune.config.project import PROJECT


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
        """The checked, split, packed data set."""
        return self.out / "data" / "prepared"

    def stage(self, stage: str, fold: int | None = None) -> Path:
        """`artifacts/<stage>`, or `artifacts/<stage>/fold-<k>` for a stage that runs once a fold."""
        folder = self.out / "artifacts" / stage
        return folder if fold is None else folder / f"fold-{fold}"
