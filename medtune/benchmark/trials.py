"""One method trained at every learning rate of its grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medtune.config.schema import Params
from medtune.config.training import FinetuneParams, FrozenParams, TrainingParams
from medtune.runtime.artifact import Artifact
from medtune.runtime.paths import RunPaths
from medtune.tasks import base


@dataclass(frozen=True)
class LrTrial:
    """What training at one learning rate came to, over all chains.

    Attributes:
        lr: learning rate.
        trained: the last stage's artifact by test fold.
        epoch: best epoch of the first chain.
        seconds: of training, both stages.
        validation: mean over the chains of each validation figure at the best epoch; None where undefined.
        score: what rates are compared by; higher is better.
    """

    lr: float
    trained: dict[int, Artifact]
    epoch: int
    seconds: float
    validation: dict[str, float | None]
    score: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """What the record says of it."""
        return {"lr": self.lr, "epoch": self.epoch, "seconds": self.seconds, "validation": self.validation}


def section(params: Params) -> TrainingParams:
    """Params of the stage whose learning rate is searched: the last one that is run."""
    return getattr(params, params.training_stages[-1])


def with_lr(params: Params, lr: float) -> Params:
    """`params` with that learning rate in that stage."""
    return params.model_copy(update={params.training_stages[-1]: section(params).model_copy(update={"lr": lr})})


def normalize_unused_sections(params: Params, rate: float) -> Params:
    """`params` alike for all cells that differ in nothing but what they do not use."""
    defaults = {"frozen": FrozenParams(), "finetune": FinetuneParams()}
    unused = {name: default for name, default in defaults.items() if name not in params.training_stages}
    return with_lr(params, rate).model_copy(update=unused)


def run_trials(params: Params, paths: RunPaths, rates: Sequence[float], tmp_dir: Path) -> list[LrTrial]:
    """A trial for each rate; one whose loss is not finite is left out.

    Args:
        params: of the cell.
        paths: the data with the cell's training patients, and the feature store.
        rates: learning rates.
        tmp_dir: folder for unfinished and finished training; an interrupted run resumes from it.

    Raises:
        RuntimeError: the loss is not finite at any rate.
    """
    trials: list[LrTrial] = []
    diverged: RuntimeError | None = None
    for rate in rates:
        try:
            trials.append(_trial(with_lr(params, rate), paths, tmp_dir, rate))
        except RuntimeError as error:
            if "the loss is" not in str(error):
                raise
            diverged = error
    if diverged and not trials:
        raise diverged
    return trials


def _trial(params: Params, paths: RunPaths, tmp_dir: Path, rate: float) -> LrTrial:
    trained, seconds, results = {}, 0.0, []
    for fold in params.data.split.test_folds:
        stages = _train(params, paths, fold, tmp_dir, rate)
        trained[fold] = stages[-1]
        seconds += sum(stage.result()["seconds"] for stage in stages)
        results.append(stages[-1].result()["best"])
    figures = {name: [best["validation"][name] for best in results] for name in results[0]["validation"]}
    validation = {name: None if None in found else sum(found) / len(found) for name, found in figures.items()}
    values, metric = [best["value"] for best in results], base.metric(params.task.kind, section(params).select_by)
    # Undefined (None) is worse than any value; the loss is no metric, and lower is better.
    chosen = -math.inf if None in values else (metric.sign if metric else -1) * sum(values) / len(values)
    return LrTrial(
        rate, trained, results[0]["epoch"], round(seconds, 1), validation, (chosen, -(validation["loss"] or 0.0))
    )


def _train(params: Params, paths: RunPaths, fold: int, tmp_dir: Path, rate: float) -> list[Artifact]:
    from medtune.stages import finetune, frozen

    # Stage 1 does not know stage 2's rate, so with both stages all rates share one.
    shared = tmp_dir / "first" if len(params.training_stages) > 1 else None
    out = replace(paths, out=tmp_dir / f"lr-{rate:g}", frozen_out=shared, data=paths.prepared)
    stages = {"frozen": frozen, "finetune": finetune}
    return [stages[name].run(params, out, fold) for name in params.training_stages]
