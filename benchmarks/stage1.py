"""`python -m benchmarks.stage1`: stage 1 on stored features against the frozen backbone run every epoch.

Both sides are `stages.frozen` as it is, on the same images, varied by flips and quarter turns alone, which is
what stored views can do. A few epochs of each are timed, in turns; an epoch is its training and its validation.
The paper's 100 are reckoned from them: what is done once (network, features of the 8 views, centres, writing)
plus 100 times the median epoch. The store holds every image, so that all folds share it: one chain alone pays for
views of its validation and test images that it does not read.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from unittest import mock

import numpy as np
import typer

from benchmarks.drawn import Backbone, chosen, of, prepare
from benchmarks.record import Row, Save, finish
from config import cli
from config.artifact import Artifact
from config.schema import Params
from config.settings import Paths
from datasets.manifest import Prepared
from evaluation import logits, metrics
from evaluation.bootstrap import Interval, intervals
from evaluation.calibration import softmax
from stages import frozen
from tracking.run import Run
from training.checkpoint import load_trained
from training.fit import fit  # noqa: F401  imported here, so that no run is charged for it

EPOCHS, VIEWS = 100, 8
TARGETS = {"linear": 10.0, "cdtm": 3.5}  # for this backbone; a smaller one leaves less to save
OF_TARGETS = ("deit_tiny_patch16_224", 224)
LIMITS = {"cdtm": "; 4.4x an image by operations", "linear": ""}
FLIPS = {"dihedral": True, "shift": 0, "scale": 0, "rotate": 0, "brightness": 0, "contrast": 0, "stain": 0}


@dataclass
class Side:
    """One way of running the stage: seconds of every epoch, of all else, and the last run's validation score."""

    epochs: list[float] = field(default_factory=list)
    once: list[float] = field(default_factory=list)
    score: Interval | None = None

    def reckoned(self, chains: int = 1) -> float:
        """Seconds of the paper's 100 epochs, on each of `chains`."""
        return max(self.once) + chains * EPOCHS * median(self.epochs)


class Clock(Run):
    """Stands where W&B does, and notes when each epoch ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def log(self, values: dict[str, float], step: int) -> None:
        """Counts the points that end an epoch."""
        if "val/loss" in values:
            self.ends.append(time.perf_counter())


@contextmanager
def timed() -> Iterator[Clock]:
    """A training stage's epochs, while it runs."""
    clock = Clock()
    with mock.patch("training.fit.start", return_value=clock):
        yield clock


def measure(
    params_file: Path | None = None,
    sets: Sequence[str] = (),
    heads: Sequence[str] = tuple(TARGETS),
    epochs: int = 4,
    rounds: int = 2,
) -> list[Row]:
    """Two rows a head, one chain and all folds: seconds of 100 epochs on stored features against those without."""
    rows = []
    with TemporaryDirectory(prefix="medtune-") as folder:
        for head in heads:
            sides = {"stored": Side(), "online": Side()}
            for turn in range(rounds):
                for name, side in sides.items():
                    own: dict[str, Any] = {"epochs": epochs, "views": VIEWS if name == "stored" else "online"}
                    own |= {"augment": FLIPS, "patience": None}
                    tree = {"schedule": "frozen", "model": {"head": {"kind": head}}, "frozen": own}
                    params = chosen(params_file, sets, tree)
                    paths, prepared = prepare(params, Path(folder))
                    _run(side, params, Paths(paths.out / f"{head}-{name}-{turn}", paths.cache), prepared)
            rows += _rows(head, params, prepared, sides["stored"], sides["online"])
    return rows


def _run(side: Side, params: Params, paths: Paths, prepared: Prepared) -> None:
    fold = params.data.split.chains[0]
    with timed() as clock:
        begun = time.perf_counter()
        done = frozen.run(params, paths, fold, frozen.key(params, prepared, fold), "benchmark", prepared)
        ended = time.perf_counter()
    epochs = [after - before for before, after in pairwise(clock.ends)]
    side.epochs += epochs
    side.once.append(ended - begun - median(epochs) * len(clock.ends))
    side.score = _validation(params, done, prepared)


def _validation(params: Params, done: Artifact, prepared: Prepared) -> Interval:
    """Balanced accuracy on the validation images of the epoch that was kept, with its interval over patients."""
    wanted = logits.Wanted.of(done, prepared)
    found = logits.compute(wanted, load_trained(done), prepared.images, "cpu", 64, lambda images: None)["val"]
    rows = wanted.rows["val"]
    predictions = np.argmax(found, axis=1)
    tally = metrics.tally(prepared.labels[rows], softmax(found), predictions, prepared.groups[rows])
    return intervals(tally, params.evaluate.bootstrap, params.evaluate.confidence, params.seed)["balanced_accuracy"]


def _rows(head: str, params: Params, prepared: Prepared, stored: Side, online: Side) -> list[Row]:
    for name, side in (("stored features", stored), ("backbone every epoch", online)):
        once, epoch = max(side.once), median(side.epochs)
        cli.say(
            f"{head}, {name}: once {once:.2f} s, an epoch {epoch:.3f} s, {EPOCHS} epochs {side.reckoned():.1f} s; "
            f"balanced accuracy on validation {_shown(side.score)}"
        )
    backbone, folds, n = params.model.backbone, params.data.split.folds, len(prepared.labels)
    parts = prepared.indices(params.data.split.chains[0])
    seen = len(parts["train"]) * params.frozen.passes + len(parts["val"])
    scores = f"balanced accuracy {_shown(stored.score)} and {_shown(online.score)}"
    rows = []
    for chains in (1, folds):
        passes = chains * EPOCHS * seen, VIEWS * n
        limit = f"limit {passes[0] / passes[1]:.1f}x: {passes[0]} against {passes[1]} backbone passes"
        rows.append(
            Row(
                f"stage 1, {head}, {EPOCHS} epochs, {'one chain' if chains == 1 else f'{chains} folds'}",
                stored.reckoned(chains),
                "s",
                "backbone every epoch",
                online.reckoned(chains),
                online.reckoned(chains) / stored.reckoned(chains),
                TARGETS.get(head) if (backbone, params.data.image_size) == OF_TARGETS else None,
                note=f"{backbone}; {limit}{LIMITS.get(head, '')}; {scores}",
            )
        )
    return rows


def _shown(score: Interval | None) -> str:
    assert score is not None
    assert score.value is not None
    ends = "no interval" if score.lo is None or score.hi is None else f"{score.lo:.3f}-{score.hi:.3f}"
    return f"{score.value:.3f} ({ends})"


def run(
    params: cli.ParamsFile = None,
    sets: cli.Sets = None,
    backbone: Backbone = None,
    head: Annotated[list[str] | None, typer.Option(help="Head; may be repeated. Default: linear and cdtm.")] = None,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of each run.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each side, in turns.")] = 2,
    save: Save = False,
) -> None:
    """Compare stage 1 on stored features with running the backbone every epoch."""
    finish("stage1", measure(params, [*of(backbone), *(sets or ())], head or tuple(TARGETS), epochs, rounds), save)


if __name__ == "__main__":
    cli.run(run)
