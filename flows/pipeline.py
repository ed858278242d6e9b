"""Pipeline of stages, identical with and without Prefect. Finished steps are reused."""

import importlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from medtune.config.errors import InputError, RunError
from medtune.config.schema import Params
from medtune.runtime.artifact import Artifact, partial_dir, write_text
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths
from medtune.stages.steps import Step, Steps

log = logging.getLogger("medtune.flow")


@dataclass(frozen=True)
class StepResult:
    """Result of a step.

    Attributes:
        step: the step.
        cached: True if the artifact is from an earlier run.
        seconds: wall time in seconds.
        artifact: the finished artifact.
    """

    step: Step
    cached: bool
    seconds: float
    artifact: Artifact


class StageError(RunError):
    """Failure of a stage. `__cause__` is the original exception."""


# Returns the finished artifact of a step. Called for finished steps too, so that Prefect records them.
Execute = Callable[[Step], Artifact]


def run(steps: Steps, execute: Execute) -> list[StepResult]:
    """Execute all steps in order and print a line when a step starts or ends.

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
    for stage, fold in steps.order():
        step = steps.resolve(stage, fold)
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
    """Execute every step in this process, without Prefect."""
    return run(steps, lambda step: step.artifact or run_stage(step, steps.params, steps.paths))


def run_stage(step: Step, params: Params, paths: RunPaths) -> Artifact:
    """Run the stage of one step.

    Args:
        step: the step.
        params: all params.
        paths: where to read and write.

    Returns:
        The finished artifact.

    Raises:
        InputError: the user's input is wrong.
        StageError: the stage raised another error.
    """
    stage = importlib.import_module(f"medtune.stages.{step.stage}")
    try:
        artifact: Artifact = stage.run(params, paths, step.fold)
        return artifact
    except InputError:
        raise
    except Exception as error:
        raise StageError(f"{step.name} failed: {type(error).__name__}: {error}") from error


def is_complete(steps: Steps) -> bool:
    """Return True if every step has a verified artifact, without importing torch."""
    return all(steps.resolve(stage, fold).artifact is not None for stage, fold in steps.order())


def log_line(line: str) -> None:
    """Print a line and write it to the log file and, in a flow run, to Prefect's log."""
    info(line)
    log.info(line)


def prune_outputs(params: Params, paths: RunPaths) -> None:
    """Remove the outputs of earlier pipelines from artifacts/. Call this only after the pipeline has finished.

    DVC requires the folder of every stage. The folder of a stage that `schedule` omits contains only a README.txt.

    Args:
        params: all params.
        paths: where the pipeline wrote.
    """
    for stage in ("evaluate", "export"):  # partial output of a run with other params that was killed
        shutil.rmtree(partial_dir(paths.stage(stage)), ignore_errors=True)
    for stage in ("frozen", "finetune"):
        is_omitted = stage not in params.training_stages
        folder = paths.stage(stage)
        folder.mkdir(parents=True, exist_ok=True)
        networks = {paths.stage(stage, fold).name for fold in params.trained_networks}
        keep = {"README.txt"} if is_omitted else networks
        for entry in [entry for entry in folder.iterdir() if entry.name not in keep]:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if is_omitted:
            write_text(folder / "README.txt", f"schedule: {params.schedule} has no {stage} stage.\n")
