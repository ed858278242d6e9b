"""Training pipeline with the stages frozen, finetune, evaluate and export (the command `medtune train`).

A step is one run of a stage, for example stage finetune for test fold 1. Finished steps are reused.
"""

import logging
import time
import traceback

from medtune.config.errors import DivergedError
from medtune.config.schema import Params
from medtune.data.manifest import load_prepared
from medtune.flows import pipeline, records
from medtune.flows.prefect_run import with_prefect
from medtune.runtime.lock import output_lock
from medtune.runtime.logfile import logfile
from medtune.runtime.paths import RunPaths
from medtune.stages.preflight import check_table
from medtune.stages.steps import Steps
from medtune.tasks import base

log = logging.getLogger("medtune.flow")


def train(params: Params, paths: RunPaths, prefect: bool = True) -> list[pipeline.StepResult]:
    """Train, evaluate and export. Finished steps are reused.

    Args:
        params: all params.
        paths: where to read and write.
        prefect: run the stages as a Prefect flow. If False, the stages are called directly.

    Returns:
        One result per step, in order.

    Raises:
        InputError: the params are invalid, or the data is not prepared.
        StageError: a stage failed. The message names the log file with the traceback.
    """
    if not paths.prepared.is_dir():
        check_table(params)
        load_prepared(paths.prepared)  # raises an error with the command to run, before a folder is created
    with output_lock(paths), logfile(paths.cache / "logs", "train") as written:
        steps = Steps(params, paths)
        if not pipeline.is_complete(steps):
            from medtune.stages.dry_run import check_network

            check_network(params, paths, steps.prepared)
            pipeline.log_line(f"train: {describe(params)}")
        try:
            results = _with_prefect(steps) if prefect else pipeline.run_directly(steps)
        except pipeline.StageError as failure:
            log.error("%s", "".join(traceback.format_exception(failure)))
            message = f"{failure}. The traceback is in {written}"
            if not isinstance(failure.__cause__, DivergedError):  # the same params would diverge again
                message += ". With the same params, the next run resumes from the last checkpoint"
            raise pipeline.StageError(message) from failure
        finish(steps, results)
        ran = sum(not result.cached for result in results)
        what = "IMAGE" if getattr(params.data, "is_planar", False) else "VOLUME"
        predict = f"{what} --out FOLDER" if params.data.has_volumes else "IMAGE"
        report, bundle = paths.stage("evaluate") / "report.html", paths.stage("export")
        pipeline.log_line(
            f"done: {ran} of {len(results)} steps ran; report {report}; bundle in {bundle}. "
            f"Next: medtune predict {bundle} {predict}"
        )
        evaluated = next(result.artifact for result in results if result.step.stage == "evaluate")
        if verdict := evaluated.result().get("baseline_verdict"):
            pipeline.log_line(f"note: {verdict}")
        for sentence in evaluated.result().get("controls", []):
            pipeline.log_line(f"note: {sentence}")
    return results


def describe(params: Params) -> str:
    """Describe on one line which networks are trained and what follows."""
    folds, stages = params.data.split.trained_folds, " and ".join(params.training_stages)
    refit = params.final == "refit"
    names = list(base.trained_controls(params))
    controls = f", the control{'s' * (len(names) > 1)} {' and '.join(names)}" if names else ""
    if len(folds) == 1:
        final = " and one on all images, which is exported" if refit else ""
        return f"one network ({stages}){final}{controls}, then evaluate and export"
    exported = "one more is trained on all images and exported" if refit else "the exported model averages them"
    return (
        f"{len(folds)} networks ({stages}), one per test fold {folds[0]} to {folds[-1]}{controls}, then evaluate and "
        f"export; {exported}"
    )


def finish(steps: Steps, results: list[pipeline.StepResult]) -> None:
    """Log the pipeline to W&B and remove outputs of earlier runs from artifacts/."""
    records.log_to_wandb(steps.params, steps.paths, steps.group, results)
    pipeline.prune_outputs(steps.params, steps.paths)


def _with_prefect(steps: Steps) -> list[pipeline.StepResult]:
    def run_flow() -> list[pipeline.StepResult]:
        from medtune.flows import tasks

        return tasks.train(steps, name)

    params = steps.params
    head, fold = params.model.head.kind, params.data.split.test_fold
    name = f"{params.model.backbone} {head} {params.schedule} fold {fold} {time.strftime('%H:%M:%S')}"
    return with_prefect(name, steps.paths.cache, run_flow, lambda: pipeline.run_directly(steps))
