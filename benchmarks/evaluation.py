"""`python -m benchmarks.evaluation`: compare one pass of a frozen backbone for all folds with one pass per fold.

All folds have the same frozen backbone, so one pass can compute its features for all heads. Both variants use the same
trained heads and run alternately. The comparison uses the CPU time of the process. With one thread, other work on the
machine hardly changes the CPU time.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from benchmarks.results import Row, Save, finish
from benchmarks.synthetic_images import Backbone, backbone_overrides, benchmark_params, prepare
from medtune.cli import options, program
from medtune.evaluation.outputs import Outputs, OutputsRequest, compute_outputs
from medtune.stages import frozen
from medtune.training.checkpoint import load_trained
from medtune.training.trained_outputs import compute_trained_outputs

FROZEN_PARAMS = {"epochs": 1, "feature_views": 1}


def measure(params_file: Path | None = None, sets: Sequence[str] = (), rounds: int = 3) -> list[Row]:
    """Measure the CPU seconds from loaded artifacts to the logits of all folds."""
    settings = {"schedule": "frozen", "frozen": FROZEN_PARAMS, "data": {"split": {"test_fold": "all"}}}
    params = benchmark_params(params_file, sets, settings)
    batch_size = params.evaluate.batch_size
    with TemporaryDirectory(prefix="medtune-") as folder:
        paths, prepared = prepare(params, Path(folder))
        trained = [frozen.run(params, paths, fold) for fold in params.data.split.test_folds]
        requests = [OutputsRequest.for_artifact(artifact, prepared) for artifact in trained]

        def shared() -> list[Outputs]:
            return list(compute_trained_outputs(requests, prepared.images, "cpu", batch_size, lambda done: None))

        def per_fold() -> list[Outputs]:
            return [
                compute_outputs(
                    request, load_trained(request.trained), prepared.images, "cpu", batch_size, lambda done: None
                )
                for request in requests
            ]

        durations: dict[Callable[[], list[Outputs]], list[float]] = {shared: [], per_fold: []}
        for _ in range(rounds):
            for call, seconds in durations.items():
                start = time.process_time()
                call()
                seconds.append(time.process_time() - start)
        pairs = zip(shared(), per_fold(), strict=True)
        difference = max(float(np.abs(left[split] - right[split]).max()) for left, right in pairs for split in right)
    shared_seconds, per_fold_seconds = median(durations[shared]), median(durations[per_fold])
    note = f"{params.model.backbone}, {len(prepared.labels)} images; the logits differ by up to {difference:.2g}"
    return [
        Row(f"logits of {len(requests)} folds", shared_seconds, "s CPU", "one pass per fold", per_fold_seconds,
            per_fold_seconds / shared_seconds, note=note),
    ]  # fmt: skip


def run(
    params: options.ParamsFile = None,
    sets: options.Overrides = None,
    backbone: Backbone = None,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating runs of each variant.")] = 3,
    save: Save = False,
) -> None:
    """Compare one pass of a frozen backbone for all folds with one pass per fold."""
    finish("evaluation", measure(params, [*backbone_overrides(backbone), *(sets or ())], rounds), save)


if __name__ == "__main__":
    program.run(run)
