"""One method trained at every learning rate of its grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.config.training import FinetuneParams, FrozenParams, TrainingParams
from medtune.runtime.artifact import Artifact
from medtune.runtime.paths import Paths

if TYPE_CHECKING:
    from medtune.data.manifest import Prepared

Parts = dict[int, "Prepared"]  # by test fold


@dataclass(frozen=True)
class Trial:
    """What training at one learning rate came to, over all chains.

    Attributes:
        lr: learning rate.
        trained: the last stage's artifact by test fold.
        epoch: best epoch of the first chain.
        seconds: of training, both stages.
        validation: mean over the chains of each validation figure at the best epoch; None where undefined.
        merit: what rates are compared by; higher is better.
    """

    lr: float
    trained: dict[int, Artifact]
    epoch: int
    seconds: float
    validation: dict[str, float | None]
    merit: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """What the record says of it."""
        return {"lr": self.lr, "epoch": self.epoch, "seconds": self.seconds, "validation": self.validation}


def section(params: Params) -> TrainingParams:
    """Params of the stage whose learning rate is searched: the last one that is run."""
    return getattr(params, params.training_stages[-1])


def with_rate(params: Params, rate: float) -> Params:
    """`params` with that learning rate in that stage."""
    return params.model_copy(update={params.training_stages[-1]: section(params).model_copy(update={"lr": rate})})


def that_counts(params: Params, rate: float) -> Params:
    """`params` alike for all cells that differ in nothing but what they do not use."""
    defaults = {"frozen": FrozenParams(), "finetune": FinetuneParams()}
    unused = {name: default for name, default in defaults.items() if name not in params.training_stages}
    return with_rate(params, rate).model_copy(update=unused)


def run(params: Params, paths: Paths, parts: Parts, rates: Sequence[float], work: Path) -> list[Trial]:
    """A trial for each rate; one whose loss is not finite is left out.

    Args:
        params: of the cell.
        paths: where the feature store lies.
        parts: data by test fold.
        rates: learning rates.
        work: folder for unfinished and finished training; a cut run goes on from it.

    Raises:
        RuntimeError: the loss is not finite at any rate.
    """
    trials: list[Trial] = []
    diverged: RuntimeError | None = None
    for rate in rates:
        try:
            trials.append(_trial(with_rate(params, rate), paths, parts, work, rate))
        except RuntimeError as error:
            if "the loss is" not in str(error):
                raise
            diverged = error
    if diverged and not trials:
        raise diverged
    return trials


def _trial(params: Params, paths: Paths, parts: Parts, work: Path, rate: float) -> Trial:
    trained, seconds, results = {}, 0.0, []
    for fold, part in parts.items():
        stages = _train(params, paths, part, fold, work, rate)
        trained[fold] = stages[-1]
        seconds += sum(stage.result()["seconds"] for stage in stages)
        results.append(stages[-1].result()["best"])
    figures = {name: [best["validation"][name] for best in results] for name in results[0]["validation"]}
    validation = {name: None if None in found else sum(found) / len(found) for name, found in figures.items()}
    value = sum(best["value"] for best in results) / len(results)
    chosen = -value if section(params).select_by == "loss" else value
    return Trial(
        rate, trained, results[0]["epoch"], round(seconds, 1), validation, (chosen, -(validation["loss"] or 0.0))
    )


def _train(params: Params, paths: Paths, part: "Prepared", fold: int, work: Path, rate: float) -> list[Artifact]:
    from medtune.stages import finetune, frozen

    stages: list[Artifact] = []
    own = Paths(work / f"lr-{rate:g}", paths.cache)
    if "frozen" in params.training_stages:
        # Stage 1 does not know stage 2's rate: all rates go on from one.
        first = Paths(work / "first", paths.cache) if len(params.training_stages) > 1 else own
        key = frozen.key(params, part, fold)
        stages.append(frozen.run(params, first, fold, key, "benchmark", part))
    if "finetune" in params.training_stages:
        before = stages[0] if stages else None
        key = finetune.key(params, part, fold, before)
        stages.append(finetune.run(params, own, fold, before, key, "benchmark", part))
    return stages
