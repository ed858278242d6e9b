"""Execution of the steps of a pipeline, in the same way with and without Prefect.

A step is one run of a stage, for example stage finetune for test fold 1. The artifact of a finished step is reused.
"""

import importlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medtune.config.errors import InputError, RunError
from medtune.config.schema import Params
from medtune.runtime.artifact import Artifact, partial_dir, write_text
from medtune.runtime.console import info
from medtune.runtime.paths import CONTROLS, RunPaths
from medtune.stages.steps import Step, Steps
from medtune.tasks import base

log = logging.getLogger("medtune.flow")


@dataclass(frozen=True)
class StepResult:
    """Result of a step.

    Attributes:
        step: the step.
        cached: True if the artifact is from an earlier run.
        seconds: wall time of this run in seconds; almost 0 if cached.
        artifact: the finished artifact.
    """

    step: Step
    cached: bool
    seconds: float
    artifact: Artifact


class StageError(RunError):
    """Failure of a stage. `__cause__` is the original exception."""


# Function that returns the finished artifact of a step. It is called for cached steps too, so that Prefect shows them.
Execute = Callable[[Step], Artifact]


def run(steps: Steps, execute: Execute) -> list[StepResult]:
    """Execute all steps in order. Print a line when a step starts and when it ends.

    Args:
        steps: the steps of the pipeline.
        execute: function that returns the artifact of a step.

    Returns:
        One result per step, in order.

    Raises:
        InputError: the user's input is wrong.
        StageError: a stage raised another error.
    """
    results: list[StepResult] = []
    for step_id in steps.order():
        step = steps.resolve(*step_id)
        cached = step.artifact is not None
        log_line(f"{step.name}: {'cached' if cached else 'running'} (key {step.key[:6]})")
        start_time = time.monotonic()
        artifact = execute(step)
        seconds = time.monotonic() - start_time
        if not cached:
            log_line(f"{step.name}: done in {seconds:.1f} s")
        steps.record(step, artifact)
        results.append(StepResult(step, cached, seconds, artifact))
    return results


def run_directly(steps: Steps) -> list[StepResult]:
    """Execute every step in this process, without Prefect. The exceptions are those of `run`."""
    return run(steps, lambda step: step.artifact or run_stage(step, steps))


def run_stage(step: Step, steps: Steps) -> Artifact:
    """Run the stage of one step.

    Args:
        step: the step.
        steps: the steps of the pipeline, with their params and paths.

    Returns:
        The finished artifact.

    Raises:
        InputError: the user's input is wrong.
        StageError: the stage raised another error.
    """
    stage = importlib.import_module(f"medtune.stages.{step.stage}")
    try:
        resolver = steps.resolver(step)
        artifact: Artifact = stage.run(resolver.params, resolver.paths, step.fold)
        return artifact
    except InputError:
        raise
    except RunError as error:
        message = str(error)
        raise StageError(message if step.name in message else f"{step.name} failed: {message}") from error
    except Exception as error:
        raise StageError(f"{step.name} failed: {type(error).__name__}: {error}") from error


def is_complete(steps: Steps) -> bool:
    """Return True if every step has a verified artifact. The check does not import torch."""
    return all(steps.resolve(*step_id).artifact is not None for step_id in steps.order())


def log_line(line: str) -> None:
    """Print a line and write it to the log file and, in a flow run, to Prefect's log."""
    info(line)
    log.info(line)


def prune_outputs(params: Params, paths: RunPaths) -> None:
    """Remove the outputs of earlier pipelines from artifacts/. Call this function after the pipeline has finished.

    DVC requires one folder per stage, and one for the control runs (trainings that the model is compared with). If
    there is nothing to store in such a folder, it contains only a README.txt.

    Args:
        params: all params.
        paths: where the pipeline wrote.
    """
    for stage in ("evaluate", "export"):  # remove the partial output of a killed run
        shutil.rmtree(partial_dir(paths.stage(stage)), ignore_errors=True)
    for stage in ("frozen", "finetune"):
        is_omitted = stage not in params.training_stages
        folder = paths.stage(stage)
        _keep(folder, {"README.txt"} if is_omitted else _networks(stage, params, paths))
        if is_omitted:
            write_text(folder / "README.txt", f"schedule: {params.schedule} has no {stage} stage.\n")
    controls, folder = base.trained_controls(params), paths.stage(CONTROLS)
    _keep(folder, set(controls) or {"README.txt"})
    for name, trained in controls.items():
        of_control = paths.of_control(name)
        _keep(folder / name, set(trained.training_stages))
        for stage in trained.training_stages:
            _keep(of_control.stage(stage), _networks(stage, trained, of_control))
    if not controls and not (folder / "README.txt").is_file():
        write_text(folder / "README.txt", "This run has no controls.\n")


def _networks(stage: str, params: Params, paths: RunPaths) -> set[str]:
    """Return the names of the folders of a training stage, one per network."""
    return {paths.stage(stage, fold).name for fold in params.trained_networks}


def _keep(folder: Path, names: set[str]) -> None:
    """Create a folder if it does not exist. Remove all its entries except those in `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in [entry for entry in folder.iterdir() if entry.name not in names]:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
