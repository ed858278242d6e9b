"""`python -m benchmarks.stage1`: compare stage 1 on stored features with running the backbone in every epoch.

Both variants run `medtune.stages.frozen` on the same images. The only augmentations are flips and quarter turns,
because stored features exist only for these views. The variants run alternately for a few epochs, including validation.
The result is the time for 100 epochs, as in the paper of CDTM. It is the setup time (network, features, centers,
writing) plus 100 times the median epoch.

A fold stores features of its training images in 8 views and of its validation images in one view. All folds share
stored features, so later folds have a shorter setup. It is measured separately. Without stored features, the setup time
of the first fold is used for all folds.
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
import sklearn.cluster  # noqa: F401  imported here, as is `run_training_stage`, so that no measured run imports it
import typer

from benchmarks import flops
from benchmarks.results import Row, Save, finish
from benchmarks.synthetic_images import Backbone, backbone_overrides, benchmark_params, prepare
from medtune.cli import options, program
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.evaluation import outputs
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
TARGETS = {"linear": 10.0, "cdtm": 3.5}  # for TARGET_NETWORK; with a smaller backbone, stored features save less
TARGET_NETWORK = ("deit_tiny_patch16_224", 224)
FLIPS = {"dihedral": True, "shift": 0, "scale": 0, "rotate": 0, "brightness": 0, "contrast": 0, "stain": 0}


@dataclass
class VariantTimes:
    """Measurements of one variant.

    Attributes:
        epochs: seconds of every epoch of the first fold.
        setups: setup seconds of each run of the first fold; the first run fills the feature store.
        other_setups: setup seconds of the other folds; None if they equal those of the first fold.
        score: balanced accuracy of the last run on validation images.
    """

    epochs: list[float] = field(default_factory=list)
    setups: list[float] = field(default_factory=list)
    other_setups: list[float] | None = None
    score: Interval | None = None

    def total(self, folds: int = 1) -> float:
        """Return the seconds of `EPOCHS` epochs for `folds` folds, including setup."""
        first = max(self.setups)
        other_setups = [first] * (folds - 1) if self.other_setups is None else self.other_setups[: folds - 1]
        return first + sum(other_setups) + folds * EPOCHS * median(self.epochs)


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
            variants = {"stored": VariantTimes(), "online": VariantTimes()}
            for round_number in range(rounds):
                for name, variant in variants.items():
                    stage: dict[str, Any] = {"epochs": epochs, "feature_views": VIEWS if name == "stored" else "online"}
                    stage |= {"augment": FLIPS, "patience": None}
                    tree = {"schedule": "frozen", "model": {"head": {"kind": head}}, "frozen": stage}
                    params = benchmark_params(params_file, sets, tree)
                    paths, prepared = prepare(params, Path(folder))
                    run_paths = RunPaths(paths.out / f"{head}-{name}-{round_number}", paths.cache, data=paths.prepared)
                    first_fold, *other_folds = _test_folds(params)
                    trained = _run(variant, params, run_paths, first_fold)
                    variant.score = _validation(params, trained, prepared)
                    if name == "stored" and round_number == 0:
                        other_times = VariantTimes()
                        for fold in other_folds:
                            _run(other_times, params, run_paths, fold)
                        variant.other_setups = other_times.setups
            rows += _rows(head, params, prepared, variants["stored"], variants["online"])
    return rows


def _test_folds(params: Params) -> list[int]:
    """Return all folds as test folds, starting with the first test fold of the params."""
    first = params.data.split.test_folds[0]
    return [first, *(fold for fold in range(params.data.split.folds) if fold != first)]


def _run(times: VariantTimes, params: Params, paths: RunPaths, fold: int) -> Artifact:
    """Run stage 1 for a fold, and add the seconds of the epochs and of the setup to `times`."""
    with timed() as clock:
        start = time.perf_counter()
        trained = frozen.run(params, paths, fold)
        end = time.perf_counter()
    epochs = [after - before for before, after in pairwise(clock.ends)]
    times.epochs += epochs
    times.setups.append(end - start - median(epochs) * len(clock.ends))
    return trained


def _validation(params: Params, trained: Artifact, prepared: PreparedDataset) -> Interval:
    """Return the balanced accuracy of the selected epoch on validation images, with its interval over patients."""
    request = outputs.OutputsRequest.for_artifact(trained, prepared)
    network = load_trained(trained)
    val_logits = outputs.compute_outputs(request, network, prepared.images, "cpu", 64, lambda images: None)["val"]
    rows = request.indices["val"]
    predictions = np.argmax(val_logits, axis=1)
    stats = statistics.accumulate(prepared.labels[rows], softmax(val_logits), predictions, prepared.patient_ids[rows])
    options = params.evaluate
    return intervals(METRICS, stats, options.confidence)["balanced_accuracy"]


def _rows(
    head: str, params: Params, prepared: PreparedDataset, stored: VariantTimes, online: VariantTimes
) -> list[Row]:
    for name, times in (("stored features", stored), ("backbone in every epoch", online)):
        setup, epoch = max(times.setups), median(times.epochs)
        console.info(
            f"{head}, {name}: setup {setup:.2f} s, {epoch:.3f} s per epoch, {EPOCHS} epochs {times.total():.1f} s; "
            f"validation balanced accuracy {_format_score(times.score)}"
        )
    backbone = params.model.backbone
    splits = [prepared.indices(fold) for fold in _test_folds(params)]
    scores = f"validation balanced accuracy {_format_score(stored.score)} against {_format_score(online.score)}"
    rows = []
    for folds in (1, len(splits)):
        online_work, stored_work = flops.compare(params, splits[:folds], EPOCHS, VIEWS)
        limit = f"at most {online_work.operations / stored_work.operations:.1f}x is possible by number of operations"
        passes = f"{stored_work.passes} backbone passes against {online_work.passes}"
        rows.append(
            Row(
                f"stage 1, {head}, {EPOCHS} epochs, {'one fold' if folds == 1 else f'{folds} folds'}",
                stored.total(folds),
                "s",
                "backbone in every epoch",
                online.total(folds),
                online.total(folds) / stored.total(folds),
                TARGETS.get(head) if (backbone, params.data.image_size) == TARGET_NETWORK else None,
                note=f"{backbone}; {limit}; {passes}; {scores}",
            )
        )
    return rows


def _format_score(score: Interval | None) -> str:
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
    overrides = [*backbone_overrides(backbone), *(sets or ())]
    finish("stage1", measure(params, overrides, head or tuple(TARGETS), epochs, rounds), save)


if __name__ == "__main__":
    program.run(run)
