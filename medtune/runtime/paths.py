"""Where a run reads and writes. Paths never enter a cache key."""

import os
from dataclasses import dataclass
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.serving.members import network_name


@dataclass(frozen=True)
class TrainSubset:
    """A part of the training patients.

    Attributes:
        percent: 1 to 100, of the training patients, rounded up.
        seed: seed of the order in which patients are taken.
        with_validation: whether the same share of the validation patients is taken, too.
    """

    percent: int
    seed: int
    with_validation: bool = False


@dataclass(frozen=True)
class RunPaths:
    """Where one run reads and writes.

    Attributes:
        out: folder that holds `data/prepared` and `artifacts`.
        cache: content-addressed store of what can be recomputed (features, logits, task results).
        frozen_out: folder that holds `artifacts/frozen` if it is not `out`.
        data: folder of the prepared set if it is not `data/prepared` under `out`.
        subset: the training patients to use; None uses all of them.
    """

    out: Path
    cache: Path
    frozen_out: Path | None = None
    data: Path | None = None
    subset: TrainSubset | None = None

    @classmethod
    def from_env(cls, out: Path | str | None = None) -> "RunPaths":
        """The checkout's own paths, or those under `out`; `$MEDTUNE_CACHE` moves the cache."""
        base = Path(out).resolve() if out else PROJECT
        return cls(base, Path(os.environ.get("MEDTUNE_CACHE") or PROJECT / ".cache").resolve())

    @property
    def prepared(self) -> Path:
        """The checked, split, packed data set."""
        return self.data or self.out / "data" / "prepared"

    def stage(self, stage: str, fold: int | None = None) -> Path:
        """`artifacts/<stage>`, or `artifacts/<stage>/fold-<k>` for a stage that runs once per fold.

        The network that is trained on all images is in `artifacts/<stage>/refit`.
        """
        out = self.frozen_out if stage == "frozen" and self.frozen_out else self.out
        folder = out / "artifacts" / stage
        return folder if fold is None else folder / network_name(fold).replace(" ", "-")
