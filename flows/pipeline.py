"""The pipeline of stages, the same with and without Prefect: what is done already, and what runs."""

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
    """The outcome of one step.

    Attributes:
        step: the step.
        cached: True if an earlier run had finished it.
        seconds: wall time.
        artifact: its finished artifact.
    """

    step: Step
    cached: bool
    seconds: float
    artifact: Artifact


class StageError(RunError):
    """A stage raised; `__cause__` is what it raised."""


# Returns the finished artifact of a step; called for finished steps too, so that Prefect records them.
Execute = Callable[[Step], Artifact]


def run(steps: Steps, execute: Execute) -> list[StepResult]:
    """Execute every step in order, and report each as it starts and ends.

    Raises:
        InputError: the user's input is wrong.
        StageError: a stage raised anything else.
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
    """Run the stage function of one step and return the finished artifact.

    Raises:
        InputError: the user's input is wrong.
        StageError: the stage raised anything else.
    """
    stage = importlib.import_module(f"medtune.stages.{step.stage}")
    try:
        return stage.run(params, paths, step.fold)
    except InputError:
        raise
    except Exception as error:
        raise StageError(f"{step.name} failed: {type(error).__name__}: {error}") from error


def is_complete(steps: Steps) -> bool:
    """Return True if every step has a verified artifact; then nothing needs torch. Imports nothing heavy."""
    return all(steps.resolve(stage, fold).artifact is not None for stage, fold in steps.order())


def log_line(line: str) -> None:
    """Says one line and puts it on record: the log file and, in a flow, Prefect's log."""
    info(line)
    log.info(line)


def prune_outputs(params: Params, paths: RunPaths) -> None:
    """Leaves in artifacts/ what this chain made and nothing older; called only once the whole chain is done.

    A stage the schedule leaves out keeps its folder, for DVC, with a file that says why it is empty.
    """
    for stage in ("evaluate", "export"):  # of a run with other params that was killed
        shutil.rmtree(partial_dir(paths.stage(stage)), ignore_errors=True)
    for stage in ("frozen", "finetune"):
        left_out = stage not in params.training_stages
        folder = paths.stage(stage)
        folder.mkdir(parents=True, exist_ok=True)
        networks = {paths.stage(stage, fold).name for fold in params.trained_networks}
        keep = {"README.txt"} if left_out else networks
        for entry in [entry for entry in folder.iterdir() if entry.name not in keep]:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if left_out:
            write_text(folder / "README.txt", f"schedule: {params.schedule} has no {stage} stage.\n")
