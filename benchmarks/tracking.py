"""`python -m benchmarks.tracking`: compare training steps with and without an offline W&B run.

In one fine-tuning run, every second interval of 20 steps is logged to W&B. Each logged interval is compared with a
neighboring interval without logging, because other work on the machine affects both. A logged interval starts with the
log call, so its time includes the work of W&B's process.
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
from benchmarks.synthetic_images import benchmark_params, prepare
from medtune.cli import options, program
from medtune.models import classifier
from medtune.tracking.run import Run, start_run
from medtune.training.inputs import PackedImageSource
from medtune.training.loop import LOG_EVERY

MAX_RATIO = 1.01
MAX_PERCENT = 1.0


class Alternating:
    """Callback of the training loop that logs every second call and measures the time between calls.

    Attributes:
        logged: seconds of each interval that starts with a log call.
        plain: seconds of each interval without a log call.
        log_calls: seconds of each log call.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.logged: list[float] = []
        self.plain: list[float] = []
        self.log_calls: list[float] = []
        self.calls = 0
        self.last = 0.0

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Record the time, and log at every second call. The arguments are those of `on_step` of the training loop."""
        now = time.perf_counter()
        if self.calls:
            (self.plain if self.calls % 2 else self.logged).append(now - self.last)
        self.calls, self.last = self.calls + 1, now
        if self.calls % 2 == 0:
            self.run.log(values, step)
            self.log_calls.append(time.perf_counter() - now)


def measure(params_file: Path | None = None, sets: Sequence[str] = (), pairs: int = 40) -> list[Row]:
    """Measure the milliseconds per step with and without W&B, and the fraction of time in log calls.

    Args:
        params_file: overlay on the params of the checkout; None: a small synthetic data set.
        sets: `--set` values.
        pairs: intervals of 20 steps with W&B, and as many without.

    Returns:
        Two rows.

    Raises:
        RuntimeError: W&B did not start.
    """
    params = benchmark_params(params_file, sets, {"schedule": "full"})
    with TemporaryDirectory(prefix="medtune-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        prepared = prepare(params, folder)[1]
        model = classifier.build(params, len(prepared.classes))
        source = PackedImageSource(prepared, model, params.finetune.augment, torch.device("cpu"))
        tracked_params = params.model_copy(update={"tracking": params.tracking.model_copy(update={"mode": "offline"})})
        with (
            mock.patch.dict(os.environ, {"MEDTUNE_CACHE": str(folder / "cache")}),
            start_run("benchmark", "0" * 32, "benchmark", tracked_params, "benchmark") as run,
        ):
            if not run:
                raise RuntimeError("W&B did not start, so there is nothing to compare")
            callback = Alternating(run)
            finetune(model, source, prepared, params, LOG_EVERY * (2 * pairs + 1), folder / "work", callback)
    logged, plain = (1e3 * median(intervals) / LOG_EVERY for intervals in (callback.logged, callback.plain))
    ratios = sorted(with_log / without for with_log, without in zip(callback.logged, callback.plain, strict=True))
    note = f"{params.model.backbone} at {params.data.image_size} px, batch {params.finetune.batch_size}; logged every "
    note += f"{LOG_EVERY} steps; median of {pairs} neighboring pairs, quartiles {ratios[pairs // 4]:.3f} and "
    note += f"{ratios[3 * pairs // 4]:.3f}"
    percent = 100 * median(callback.log_calls) / median(callback.plain)
    return [
        Row("training step, W&B offline", logged, "ms", "tracking off", plain, median(ratios),
            at_most=MAX_RATIO, note=note),
        Row("log calls of W&B, percentage of the step time", percent, "%", at_most=MAX_PERCENT,
            note=f"{1e3 * median(callback.log_calls):.2f} ms per call"),
    ]  # fmt: skip


def run(
    params: options.ParamsFile = None,
    sets: options.Overrides = None,
    pairs: Annotated[int, typer.Option(min=2, help="Intervals of 20 steps with W&B, and as many without.")] = 40,
    save: Save = False,
) -> None:
    """Compare training steps with and without W&B."""
    finish("tracking", measure(params, sets or (), pairs), save)


if __name__ == "__main__":
    program.run(run)
