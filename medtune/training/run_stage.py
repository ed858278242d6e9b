"""One training stage from network to artifact: job, watched run, kept result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.evaluation.choices import record_choices
from medtune.runtime import distributed
from medtune.runtime.artifact import Artifact, find_artifact
from medtune.runtime.console import info
from medtune.runtime.device import device_name
from medtune.serving.members import REFIT, network_name
from medtune.tasks import base
from medtune.tracking import lineage
from medtune.tracking.candidate_curves import CandidateCurves
from medtune.tracking.run import start_run
from medtune.training import artifacts as outcome
from medtune.training.inputs import BatchSource
from medtune.training.rate_search import SearchResult, search
from medtune.training.refit import RefitSettings
from medtune.training.schedule import stream_seed
from medtune.training.trainer_config import SCORE_BATCH_SIZE, TrainerConfig, TrainingState


@dataclass
class StageSpec:
    """What differs between the two stages.

    Attributes:
        stage: params section and artifact folder.
        network: maps what `source` gives to the task's output.
        saved: the part whose weights are kept.
        saved_part: `head` or `all`, what `saved` is.
        set_modes: puts every module in its training mode.
        start: network that training starts from, a candidate for the best; None: it is none.
        upstream: trained artifacts it begins from, for the record.
        penalty, after_step, compile, head_lr: as in `TrainerConfig`.
        slides: the set whose rows `source` takes where these are slides; labels, weights and validation refer to it.
        score_batch_size: as in `TrainerConfig`.
        record: called at the end with the best epoch; what else result.json says.
        finish: called before it with the best epoch and its weights; gives what is kept, and what `saved_part` it is.
        solve: finds the weights in one step, in place of the training loop; returns what `Trainer.run` returns.
        refit: settings of the network that is trained on all images; None for a network of a fold.
    """

    stage: Literal["frozen", "finetune"]
    network: nn.Module
    saved: nn.Module
    saved_part: Literal["head", "all"]
    source: BatchSource
    set_modes: Callable[[], None]
    record: Callable[[int], dict[str, Any]]
    start: nn.Module | None = None
    upstream: tuple[Artifact, ...] = ()
    penalty: Callable[[], Tensor] | None = None
    after_step: Callable[[int, int], None] | None = None
    compile: bool = False
    head_lr: float | None = None
    slides: PreparedDataset | None = None
    score_batch_size: int = SCORE_BATCH_SIZE
    finish: Callable[[int, dict[str, Tensor]], tuple[dict[str, Tensor], str]] | None = None
    solve: Callable[[TrainerConfig], tuple[TrainingState, dict[str, Tensor]]] | None = None
    refit: RefitSettings | None = None


def run_training_stage(
    spec: StageSpec, params: Params, prepared: PreparedDataset, folder: Path, fold: int, key: str, group: str
) -> Artifact:
    """Train to the end with every candidate for the learning rate and publish the best one as `folder`.

    Resumes from records and checkpoints of the same key where there are some.
    """
    section = getattr(params, spec.stage)
    rates = params.learning_rates(spec.stage)
    if spec.refit and spec.refit.lr is not None:
        rates = (spec.refit.lr,)
    units = spec.slides or prepared
    rows = units.indices(fold)
    name = f"{spec.stage} {network_name(fold)}"
    task = base.training(params.task.kind)
    metrics = base.metrics(params.task.kind)
    with start_run(spec.stage, key, group, params, name, None if fold == REFIT else fold) as run:
        lineage.log_inputs(run, prepared, spec.upstream)
        curves = CandidateCurves(run, spec.stage, rates, section, len(rows["train"]))

        def configure(number: int, rate: float, work: Path) -> TrainerConfig:
            candidate = f", rate {number + 1} of {len(rates)}: {rate:g}" if len(rates) > 1 else ""
            return TrainerConfig(
                name=name + candidate,
                network=spec.network,
                saved=spec.saved,
                set_modes=spec.set_modes,
                source=spec.source,
                targets=units.targets,
                objective=task.objective(params, section, units, rows["train"]),
                train=rows["train"],
                val=rows["val"],
                params=section,
                lr=rate,
                seed=stream_seed(params.seed, spec.stage),
                key=key,
                checkpoint_dir=work,
                signs={"loss": -1, **{metric.name: metric.sign for metric in metrics}},
                start=spec.start,
                penalty=spec.penalty,
                after_step=spec.after_step,
                compile=spec.compile,
                head_lr=spec.head_lr,
                decay_vectors=spec.stage == "frozen" or params.model.peft.method == "none",
                score_batch_size=spec.score_batch_size,
                last_epoch=spec.refit.epochs if spec.refit else None,
                on_step=lambda step, values: curves.step(number, step, values),
                on_epoch=lambda step, values: curves.epoch(number, step, values),
            )

        work = outcome.prepare_checkpoint_dir(folder)
        if spec.solve:
            found = SearchResult([], None, *spec.solve(configure(0, rates[0], work)))
        else:
            found = search(rates, configure, work, key, device_name(), f"{spec.stage}.lr")
        state = found.state
        curves.chosen(state.history)
        with distributed.main_process_first():
            if distributed.rank() > 0:
                return _find_published(folder, key)
            saved_part: str = spec.saved_part
            weights = found.weights
            if spec.finish:
                weights, saved_part = spec.finish(state.best_epoch, weights)
            config = configure(0, rates[0], work)
            settings = {"refit": spec.refit.as_dict()} if spec.refit else {}
            record = {"stage": spec.stage, "fold": fold, **settings, **spec.record(state.best_epoch)}
            before = [upstream.result() for upstream in spec.upstream]
            record["choices"] = record_choices(spec.stage, record.get("C"), found.lr, state.best_epoch, before)
            artifact = outcome.save_stage_artifact(folder, config, found, weights, params, prepared, saved_part, record)
        result = artifact.result()
        best_scores = {f"best/{name}": value for name, value in result["best"]["validation"].items()}
        tried = {
            f"lr-{trial['lr']:g}/{section.monitor}": trial["validation"][section.monitor]
            for trial in result["trials"]
            if section.monitor in trial.get("validation", {})
        }
        run.summary(
            {
                "kept": record["kept"],
                "best_epoch": state.best_epoch,
                "lr": artifact.result()["lr"],
                **tried,
                **best_scores,
            }
        )
        lineage.log_model(run, artifact)
    if len(rates) > 1:
        scores = ", ".join(
            f"{name[3:].partition('/')[0]}: {value:.4g}" for name, value in tried.items() if value is not None
        )
        info(f"{name}: chose lr {found.lr:g} by validation {section.monitor} ({scores})")
    return artifact


def _find_published(folder: Path, key: str) -> Artifact:
    """What the first process published."""
    artifact = find_artifact(folder, key)
    if artifact is None:
        raise RuntimeError(f"{folder} is not there: the output folder must be one for all processes")
    return artifact
