"""`python -m benchmarks.tracking`: a training step with W&B recording offline against one without.

One run of fine-tuning, in which every other stretch of 20 steps is logged, as the loop logs: neighbouring stretches
are compared, so that what disturbs the machine disturbs both. A stretch begins with its log call, and W&B's own
process works while it lasts.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated
from unittest import mock

import torch
import typer

from benchmarks.results import Row, Save, finish
from benchmarks.steps import finetune
from benchmarks.synthetic_images import chosen, prepare
from medtune.cli import options, program
from medtune.models import classifier
from medtune.tracking.run import Run, start_run
from medtune.training.inputs import PackedImageSource
from medtune.training.loop import LOG_EVERY

AT_MOST = 1.01
PERCENT = 1.0


class Alternating:
    """Logs every other time it is told of a step, and times what lies between.

    Attributes:
        logged, plain: seconds of the stretches that began with a log call, and of those that did not.
        calling: seconds of each log call.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.logged: list[float] = []
        self.plain: list[float] = []
        self.calling: list[float] = []
        self.told = 0
        self.last = 0.0

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """As the loop's `on_step`."""
        now = time.perf_counter()
        if self.told:
            (self.plain if self.told % 2 else self.logged).append(now - self.last)
        self.told, self.last = self.told + 1, now
        if self.told % 2 == 0:
            self.run.log(values, step)
            self.calling.append(time.perf_counter() - now)


def measure(params_file: Path | None = None, sets: Sequence[str] = (), pairs: int = 40) -> list[Row]:
    """Milliseconds a step with W&B and without, and the share of step time that the log calls themselves take.

    Args:
        params_file, sets: of the network that is fine-tuned, over the checkout's and a small drawn set.
        pairs: stretches of 20 steps with W&B, and as many without.
    """
    params = chosen(params_file, sets, {"schedule": "full"})
    with TemporaryDirectory(prefix="medtune-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        prepared = prepare(params, folder)[1]
        model = classifier.build(params, len(prepared.classes))
        feed = PackedImageSource(prepared, model, params.finetune.augment, torch.device("cpu"))
        recorded = params.model_copy(update={"tracking": params.tracking.model_copy(update={"mode": "offline"})})
        with (
            mock.patch.dict(os.environ, {"MEDTUNE_CACHE": str(folder / "cache")}),
            start_run("benchmark", "0" * 32, "benchmark", recorded, "benchmark") as run,
        ):
            if not run:
                raise RuntimeError("W&B did not start: there is nothing to compare")
            told = Alternating(run)
            finetune(model, feed, prepared, params, LOG_EVERY * (2 * pairs + 1), folder / "work", told)
    logged, plain = (1e3 * median(stretches) / LOG_EVERY for stretches in (told.logged, told.plain))
    ratio = median(one / other for one, other in zip(told.logged, told.plain, strict=True))
    spread = sorted(one / other for one, other in zip(told.logged, told.plain, strict=True))
    note = f"{params.model.backbone} at {params.data.image_size}, batch {params.finetune.batch_size}; logged every "
    note += f"{LOG_EVERY} steps; median of {pairs} neighbouring pairs, quartiles {spread[pairs // 4]:.3f} and "
    note += f"{spread[3 * pairs // 4]:.3f}"
    share = 100 * median(told.calling) / median(told.plain)
    return [
        Row("a training step, W&B offline", logged, "ms", "tracking off", plain, ratio, at_most=AT_MOST, note=note),
        Row("W&B's log calls, share of step time", share, "%", at_most=PERCENT,
            note=f"{1e3 * median(told.calling):.2f} ms a call"),
    ]  # fmt: skip


def run(
    params: options.ParamsFile = None,
    sets: options.Overrides = None,
    pairs: Annotated[int, typer.Option(min=2, help="Stretches of 20 steps with W&B, and as many without.")] = 40,
    save: Save = False,
) -> None:
    """Compare training steps that are recorded with those that are not."""
    finish("tracking", measure(params, sets or (), pairs), save)


if __name__ == "__main__":
    program.run(run)
