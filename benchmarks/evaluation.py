"""`python -m benchmarks.evaluation`: outputs of all folds with one pass of the frozen backbone against one per fold.

Both sides are the product's functions on the same trained heads, measured in turns. CPU time of the whole process is
compared; on one thread, other work on the machine changes it little.
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
from benchmarks.synthetic_images import Backbone, chosen, of, prepare
from medtune.cli import options, program
from medtune.evaluation.outputs import Outputs, OutputsRequest, compute_outputs
from medtune.stages import frozen
from medtune.training.checkpoint import load_trained
from medtune.training.trained_outputs import compute_trained_outputs

STAGE = {"epochs": 1, "feature_views": 1}


def measure(params_file: Path | None = None, sets: Sequence[str] = (), rounds: int = 3) -> list[Row]:
    """One row: CPU seconds of the outputs of all folds, from loaded artifacts to logits."""
    tree = {"schedule": "frozen", "frozen": STAGE, "data": {"split": {"test_fold": "all"}}}
    params = chosen(params_file, sets, tree)
    size = params.evaluate.batch_size
    with TemporaryDirectory(prefix="medtune-") as folder:
        paths, prepared = prepare(params, Path(folder))
        trained = [frozen.run(params, paths, fold) for fold in params.data.split.test_folds]
        requests = [OutputsRequest.for_artifact(artifact, prepared) for artifact in trained]

        def shared() -> list[Outputs]:
            return list(compute_trained_outputs(requests, prepared.images, "cpu", size, lambda done: None))

        def per_fold() -> list[Outputs]:
            return [
                compute_outputs(one, load_trained(one.trained), prepared.images, "cpu", size, lambda done: None)
                for one in requests
            ]

        taken: dict[Callable[[], list[Outputs]], list[float]] = {shared: [], per_fold: []}
        for _ in range(rounds):
            for call, seconds in taken.items():
                begun = time.process_time()
                call()
                seconds.append(time.process_time() - begun)
        pairs = zip(shared(), per_fold(), strict=True)
        difference = max(float(np.abs(one[split] - other[split]).max()) for one, other in pairs for split in other)
    once, each = median(taken[shared]), median(taken[per_fold])
    note = f"{params.model.backbone}, {len(prepared.labels)} images; logits differ by up to {difference:.2g}"
    return [Row(f"outputs of {len(requests)} folds", once, "s CPU", "a pass per fold", each, each / once, note=note)]


def run(
    params: options.ParamsFile = None,
    sets: options.Overrides = None,
    backbone: Backbone = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each side, in turns.")] = 3,
    save: Save = False,
) -> None:
    """Compare one pass of a frozen backbone for all folds with one pass per fold."""
    finish("evaluation", measure(params, [*of(backbone), *(sets or ())], rounds), save)


if __name__ == "__main__":
    program.run(run)
