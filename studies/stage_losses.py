"""`python -m studies.stage_losses`: compare the training losses of stage 1 and stage 2 on a tenth of the images.

Stage 1 trains the head on a frozen backbone, and stage 2 also trains the backbone with a PEFT method. Both stages run
as in `medtune train` with `lr: auto`, on a fraction of the training images of PneumoniaMNIST. Training losses are means
over the last epoch of the chosen learning rate. Stage 1 trains on stored features of unchanged images, so stage 2 runs
without augmentation, too. The head `logistic` cannot be used, because it is solved exactly, without epochs.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import options, program
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.runtime.artifact import Artifact
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths, TrainSubset
from medtune.stages import data, finetune, frozen

METHODS = ("lora", "ssf", "bitfit", "adapter", "vpt")
# The loss of stage 2 must be below this fraction of the loss of stage 1.
TARGET = 0.5
SETTINGS = (
    "tracking.mode=disabled",
    "finetune.batch_size=16",
    "finetune.augment={dihedral: false, shift: 0.0, scale: 0.0, brightness: 0.0, contrast: 0.0, stain: 0.0}",
)


@dataclass(frozen=True)
class Losses:
    """Results of both stages with one PEFT method. Each tuple has the value of stage 1, then that of stage 2.

    Attributes:
        method: PEFT method.
        images: number of training images.
        loss: training losses of the last epoch.
        lr: chosen learning rates.
        auroc: validation AUROC of the weights of the best epoch.
    """

    method: str
    images: int
    loss: tuple[float, float]
    lr: tuple[float, float]
    auroc: tuple[float, float]

    @property
    def ratio(self) -> float:
        """Loss of stage 2 divided by the loss of stage 1."""
        return self.loss[1] / self.loss[0]

    def row(self) -> str:
        """Row of the table in Markdown."""
        cells = [self.method, f"{self.loss[0]:.3f}", f"{self.loss[1]:.4f}", f"{self.ratio:.0%}"]
        cells += [f"{rate:g}" for rate in self.lr] + [f"{auroc:.3f}" for auroc in self.auroc]
        return f"| {' | '.join(cells)} |"


HEADER = (
    "| method | loss, stage 1 | loss, stage 2 | ratio | lr, stage 1 | lr, stage 2 | AUROC, stage 1 | AUROC, stage 2 |\n"
    f"{'|-' * 8}|"
)


def last_loss(artifact: Artifact) -> float:
    """Return the training loss of the last epoch of the chosen learning rate."""
    with (artifact.folder / "history.csv").open() as stream:
        return float(list(csv.DictReader(stream))[-1]["train/loss"])


def measure(method: str, out: Path, percent: int, sets: list[str]) -> Losses:
    """Train both stages with one method.

    Args:
        method: PEFT method.
        out: folder of the data and the artifacts.
        percent: percentage of the training images.
        sets: `section.key=value` on top of the recipe `pneumoniamnist`.

    Returns:
        Losses, learning rates and scores of both stages.
    """
    params = load(PROJECT / "recipes" / "pneumoniamnist.yaml", [*SETTINGS, f"model.peft.method={method}", *sets])
    paths = RunPaths(out, out / ".cache")
    data.run(params, paths)
    paths = replace(paths, subset=TrainSubset(percent, params.seed))
    fold = params.data.split.test_folds[0]
    stages = [stage.run(params, paths, fold) for stage in (frozen, finetune)]
    first, second = (stage.result() for stage in stages)
    return Losses(
        method,
        first["images"]["train"],
        (last_loss(stages[0]), last_loss(stages[1])),
        (first["lr"], second["lr"]),
        (first["best"]["validation"]["auroc"], second["best"]["validation"]["auroc"]),
    )


def main(
    out: Annotated[Path, typer.Option(help="Folder of the data and the artifacts; a second run continues.")],
    methods: Annotated[list[str] | None, typer.Argument(help="PEFT methods.")] = None,
    percent: Annotated[int, typer.Option(help="Percentage of the training images.")] = 10,
    overrides: options.Overrides = None,
) -> None:
    """Print the training losses of both stages; exit 1 unless stage 2 halves the loss with every method."""
    found = [measure(method, out.resolve(), percent, list(overrides or ())) for method in methods or METHODS]
    info("\n".join([f"{found[0].images} training images", HEADER, *(losses.row() for losses in found)]))
    if failed := [losses.method for losses in found if not losses.ratio < TARGET]:
        info(f"the training loss does not fall to half: {', '.join(failed)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    program.run(main)
