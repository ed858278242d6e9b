"""`python -m benchmarks.stage1`: compare stage 1 on stored features with running the backbone in every epoch.

Both variants run `medtune.stages.frozen` on the same images. The only augmentations are flips and quarter turns,
because stored views offer no others. The variants run alternately for a few epochs, including validation. The time for
100 epochs, as in the paper of CDTM, is the setup time (network, features, centers, writing) plus 100 times the median
epoch.

A fold stores features of its training images in 8 views and of its validation images in one. All folds share stored
features, so later folds have less setup, which is measured separately. Without stored features, the setup time of the
first fold is used for all folds.
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
import sklearn.cluster  # noqa: F401  not used here; like `run_training_stage`, so that no run includes its import
import typer

from benchmarks import flops
from benchmarks.results import Row, Save, finish
from benchmarks.synthetic_images import Backbone, chosen, of, prepare
from medtune.cli import options, program
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.evaluation import outputs as logits
from medtune.evaluation.intervals import Interval, intervals
from medtune.runtime import console
from medtune.runtime.artifact import Artifact
from medtune.runtime.paths import RunPaths
from medtune.stages import frozen
from medtune.tasks.classification import statistics
from medtune.tasks.classification.calibration import softmax
from medtune.tasks.classification.metrics import METRICS
from medtune.tracking.run import Run
from medtune.training.checkpoint import load_trained
from medtune.training.run_stage import run_training_stage  # noqa: F401

EPOCHS, VIEWS = 100, 8
TARGETS = {"linear": 10.0, "cdtm": 3.5}  # for OF_TARGETS; with a smaller backbone, stored features save less
OF_TARGETS = ("deit_tiny_patch16_224", 224)
FLIPS = {"dihedral": True, "shift": 0, "scale": 0, "rotate": 0, "brightness": 0, "contrast": 0, "stain": 0}


@dataclass
class Side:
    """Measurements of one variant.

    Attributes:
        epochs: seconds of every epoch of the first fold.
        once: setup seconds of each run of the first fold; the first run fills the feature store.
        others: setup seconds of the other folds; None if they equal those of the first fold.
        score: balanced accuracy of the last run on validation images.
    """

    epochs: list[float] = field(default_factory=list)
    once: list[float] = field(default_factory=list)
    others: list[float] | None = None
    score: Interval | None = None

    def total(self, folds: int = 1) -> float:
        """Return the seconds of the paper's 100 epochs for `folds` folds."""
        first = max(self.once)
        others = [first] * (folds - 1) if self.others is None else self.others[: folds - 1]
        return first + sum(others) + folds * EPOCHS * median(self.epochs)


class Clock(Run):
    """Replacement of the W&B run that records the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def log(self, values: dict[str, float], step: int) -> None:
        """Record the time if `values` end an epoch."""
        if "val/loss" in values:
            self.ends.append(time.perf_counter())


@contextmanager
def timed() -> Iterator[Clock]:
    """Record the end of each epoch of the training stage that runs in this context."""
    clock = Clock()
    with mock.patch("medtune.training.run_stage.start_run", return_value=clock):
        yield clock


def measure(
    params_file: Path | None = None,
    sets: Sequence[str] = (),
    heads: Sequence[str] = tuple(TARGETS),
    epochs: int = 4,
    rounds: int = 2,
) -> list[Row]:
    """Measure the seconds of 100 epochs with and without stored features, for one fold and for all folds."""
    rows = []
    with TemporaryDirectory(prefix="medtune-") as folder:
        for head in heads:
            sides = {"stored": Side(), "online": Side()}
            for turn in range(rounds):
                for name, side in sides.items():
                    stage: dict[str, Any] = {"epochs": epochs, "feature_views": VIEWS if name == "stored" else "online"}
                    stage |= {"augment": FLIPS, "patience": None}
                    tree = {"schedule": "frozen", "model": {"head": {"kind": head}}, "frozen": stage}
                    params = chosen(params_file, sets, tree)
                    paths, prepared = prepare(params, Path(folder))
                    own = RunPaths(paths.out / f"{head}-{name}-{turn}", paths.cache, data=paths.prepared)
                    first, *others = _test_folds(params)
                    side.score = _validation(params, _run(side, params, own, first), prepared)
                    if name == "stored" and turn == 0:
                        each = Side()
                        for fold in others:
                            _run(each, params, own, fold)
                        side.others = each.once
            rows += _rows(head, params, prepared, sides["stored"], sides["online"])
    return rows


def _test_folds(params: Params) -> list[int]:
    """Return all folds as test folds, starting with the first test fold of the params."""
    first = params.data.split.test_folds[0]
    return [first, *(fold for fold in range(params.data.split.folds) if fold != first)]


def _run(side: Side, params: Params, paths: RunPaths, fold: int) -> Artifact:
    with timed() as clock:
        start = time.perf_counter()
        done = frozen.run(params, paths, fold)
        ended = time.perf_counter()
    epochs = [after - before for before, after in pairwise(clock.ends)]
    side.epochs += epochs
    side.once.append(ended - start - median(epochs) * len(clock.ends))
    return done


def _validation(params: Params, done: Artifact, prepared: PreparedDataset) -> Interval:
    """Return the balanced accuracy of the selected epoch on validation images, with its interval over patients."""
    wanted = logits.OutputsRequest.for_artifact(done, prepared)
    found = logits.compute_outputs(wanted, load_trained(done), prepared.images, "cpu", 64, lambda images: None)["val"]
    rows = wanted.indices["val"]
    predictions = np.argmax(found, axis=1)
    stats = statistics.accumulate(prepared.labels[rows], softmax(found), predictions, prepared.patient_ids[rows])
    options = params.evaluate
    return intervals(METRICS, stats, options.confidence)["balanced_accuracy"]


def _rows(head: str, params: Params, prepared: PreparedDataset, stored: Side, online: Side) -> list[Row]:
    for name, side in (("stored features", stored), ("backbone every epoch", online)):
        once, epoch = max(side.once), median(side.epochs)
        console.info(
            f"{head}, {name}: once {once:.2f} s, {epoch:.3f} s per epoch, {EPOCHS} epochs {side.total():.1f} s; "
            f"balanced accuracy on validation {_shown(side.score)}"
        )
    backbone = params.model.backbone
    parts = [prepared.indices(fold) for fold in _test_folds(params)]
    scores = f"balanced accuracy {_shown(stored.score)} and {_shown(online.score)}"
    rows = []
    for folds in (1, len(parts)):
        work, less = flops.compare(params, parts[:folds], EPOCHS, VIEWS)
        limit = f"limit {work.operations / less.operations:.1f}x by operations; {work.passes} backbone passes against"
        rows.append(
            Row(
                f"stage 1, {head}, {EPOCHS} epochs, {'one fold' if folds == 1 else f'{folds} folds'}",
                stored.total(folds),
                "s",
                "backbone every epoch",
                online.total(folds),
                online.total(folds) / stored.total(folds),
                TARGETS.get(head) if (backbone, params.data.image_size) == OF_TARGETS else None,
                note=f"{backbone}; {limit} {less.passes}; {scores}",
            )
        )
    return rows


def _shown(score: Interval | None) -> str:
    assert score is not None
    assert score.value is not None
    ends = "no interval" if score.lo is None or score.hi is None else f"{score.lo:.3f}-{score.hi:.3f}"
    return f"{score.value:.3f} ({ends})"


def run(
    params: options.ParamsFile = None,
    sets: options.Overrides = None,
    backbone: Backbone = None,
    head: Annotated[list[str] | None, typer.Option(help="Head; may be repeated. Default: linear and cdtm.")] = None,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of each run.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating runs of each variant.")] = 2,
    save: Save = False,
) -> None:
    """Compare stage 1 on stored features with running the backbone in every epoch."""
    finish("stage1", measure(params, [*of(backbone), *(sets or ())], head or tuple(TARGETS), epochs, rounds), save)


if __name__ == "__main__":
    program.run(run)
