"""Execution of a training stage, from the network to the published artifact."""

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
from medtune.training import artifacts
from medtune.training.inputs import BatchSource
from medtune.training.rate_search import SearchResult, search
from medtune.training.refit import RefitSettings
from medtune.training.schedule import stream_seed
from medtune.training.trainer_config import SCORE_BATCH_SIZE, TrainerConfig, TrainingState


@dataclass
class StageSpec:
    """Specification of a training stage: the settings that differ between the two stages.

    Attributes:
        stage: params section and artifact folder.
        network: maps the inputs of `source` to the task's output.
        saved: part of the network whose weights are saved.
        saved_part: content of `saved`: `head`, or `all` for the complete network.
        source: batch source of the inputs.
        set_modes: puts every module in its training mode.
        record: called at the end with the best epoch; returns additional entries of result.json.
        start: network before training, a candidate for the best epoch (epoch 0); None for no such candidate.
        upstream: trained artifacts from which the stage starts, for the record.
        penalty: as in `TrainerConfig`.
        after_step: as in `TrainerConfig`.
        compile: as in `TrainerConfig`.
        head_lr: as in `TrainerConfig`.
        slides: data set of slides, if `source` expects indices of slides. Labels, weights and validation then refer to
            slides.
        score_batch_size: as in `TrainerConfig`.
        finish: called before `record` with the best epoch and its weights. It returns the weights to save and their
            `saved_part`.
        solve: function that replaces the training loop for a solved head; returns the same as `Trainer.run`.
        refit: settings of the network that is trained on all images; None for the network of a fold.
        control: name of the control run, trained only for comparison with the model; None for the run of the model.
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
    control: str | None = None


def run_training_stage(
    spec: StageSpec, params: Params, prepared: PreparedDataset, folder: Path, fold: int, key: str, group: str
) -> Artifact:
    """Train with every candidate for the learning rate and publish the best one.

    The run resumes from records and checkpoints with the same key.

    Args:
        spec: the stage.
        params: all params.
        prepared: the training data.
        folder: folder of the artifact.
        fold: number of the fold, or `REFIT`.
        key: cache key of the stage.
        group: W&B group.

    Returns:
        The published artifact.

    Raises:
        DivergedError: the loss is not finite at any learning rate.
        RuntimeError: a process does not find the artifact that the main process published.
    """
    section = getattr(params, spec.stage)
    rates = params.learning_rates(spec.stage)
    if spec.refit and spec.refit.lr is not None:
        rates = (spec.refit.lr,)
    units = spec.slides or prepared  # slides or images
    rows = units.indices(fold)
    name = f"{spec.stage} {network_name(fold)}"
    tags = ("control", spec.control) if spec.control else ()
    if spec.control:
        name = f"control {spec.control} {name}"
    task = base.training(params.task.kind)
    metrics = base.metrics(params.task.kind)
    with start_run(spec.stage, key, group, params, name, None if fold == REFIT else fold, tags) as run:
        lineage.log_inputs(run, prepared, spec.upstream)
        curves = CandidateCurves(run, spec.stage, rates, section, len(rows["train"]))

        def configure(number: int, rate: float, checkpoint_dir: Path) -> TrainerConfig:
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
                checkpoint_dir=checkpoint_dir,
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

        checkpoint_dir = artifacts.prepare_checkpoint_dir(folder)
        if spec.solve:
            selected = SearchResult([], None, *spec.solve(configure(0, rates[0], checkpoint_dir)))
        else:
            selected = search(rates, configure, checkpoint_dir, key, device_name(), f"{spec.stage}.lr")
        state = selected.state
        curves.chosen(state.history)
        with distributed.main_process_first():
            if distributed.rank() > 0:
                return _find_published(folder, key)
            saved_part: str = spec.saved_part
            weights = selected.weights
            if spec.finish:
                weights, saved_part = spec.finish(state.best_epoch, weights)
            config = configure(0, rates[0], checkpoint_dir)
            settings: dict[str, Any] = {"refit": spec.refit.as_dict()} if spec.refit else {}
            if spec.control:
                settings["control"] = spec.control
            record = {"stage": spec.stage, "fold": fold, **settings, **spec.record(state.best_epoch)}
            upstream_results = [upstream.result() for upstream in spec.upstream]
            record["choices"] = record_choices(
                spec.stage, record.get("C"), selected.lr, state.best_epoch, upstream_results
            )
            artifact = artifacts.save_stage_artifact(
                folder, config, selected, weights, params, prepared, saved_part, record
            )
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
        info(f"{name}: chose lr {selected.lr:g} by validation {section.monitor} ({scores})")
    return artifact


def _find_published(folder: Path, key: str) -> Artifact:
    """Return the artifact that the main process published."""
    artifact = find_artifact(folder, key)
    if artifact is None:
        raise RuntimeError(f"{folder}: it does not exist. Use an output folder that all processes share")
    return artifact
