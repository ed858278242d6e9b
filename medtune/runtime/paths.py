"""Input and output paths of a run. Paths never affect a cache key."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.serving.members import network_name

# Folder of the control runs in `artifacts`.
CONTROLS = "controls"


@dataclass(frozen=True)
class TrainSubset:
    """Fraction of the training patients.

    Attributes:
        percent: percentage of the training patients, 1 to 100. The number of patients is rounded up.
        seed: random seed of the order of the patients, of which the first ones are used.
        with_validation: True if the same fraction applies to the validation patients.
    """

    percent: int
    seed: int
    with_validation: bool = False


@dataclass(frozen=True)
class RunPaths:
    """Input and output paths of one run.

    Attributes:
        out: folder with `data/prepared` and `artifacts`.
        cache: content-addressed cache of features, logits and task results.
        frozen_out: folder with `artifacts/frozen`; None for `out`.
        data: folder of the prepared data; None for `data/prepared` in `out`.
        subset: fraction of the training patients to use; None for all patients.
        control: name of the control run that is trained; None for the run of the model.
        group: W&B group of the run that a control belongs to.
    """

    out: Path
    cache: Path
    frozen_out: Path | None = None
    data: Path | None = None
    subset: TrainSubset | None = None
    control: str | None = None
    group: str | None = None

    @classmethod
    def from_env(cls, out: Path | str | None = None) -> "RunPaths":
        """Return the paths of the project, or paths under `out`. `$MEDTUNE_CACHE` overrides the cache."""
        base = Path(out).resolve() if out else PROJECT
        return cls(base, Path(os.environ.get("MEDTUNE_CACHE") or PROJECT / ".cache").resolve())

    @property
    def prepared(self) -> Path:
        """Folder of the checked, split and packed data set."""
        return self.data or self.out / "data" / "prepared"

    def of_control(self, name: str, group: str | None = None) -> "RunPaths":
        """Return the paths of a control run.

        Args:
            name: name of the control.
            group: W&B group of the run that the control belongs to.

        Returns:
            Paths with the same data and cache.
        """
        return replace(self, frozen_out=None, control=name, group=group)

    def stage(self, stage: str, fold: int | None = None) -> Path:
        """Return the artifact folder of a stage.

        Args:
            stage: name of the stage.
            fold: test fold, or `REFIT` for the network of all images. None for a stage without folds.

        Returns:
            `artifacts/<stage>`, `artifacts/<stage>/fold-<k>` or `artifacts/<stage>/refit`. For a control run,
            `artifacts/controls/<name>` replaces `artifacts`.
        """
        out = self.frozen_out if stage == "frozen" and self.frozen_out else self.out
        artifacts = out / "artifacts" if self.control is None else out / "artifacts" / CONTROLS / self.control
        folder = artifacts / stage
        return folder if fold is None else folder / network_name(fold).replace(" ", "-")
