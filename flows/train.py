"""`python -m medtune.flows.train`: frozen, finetune, evaluate, export, each run only where its result is not there yet."""

import logging
import sys
import time
import traceback
from typing import Annotated

import typer

from medtune.config.load import load
from medtune.config.schema import Params
from medtune.data.manifest import load_prepared
from medtune.flows import pipeline, records
from medtune.flows.prefect_run import with_prefect
from medtune.runtime import console
from medtune.runtime.lock import holding
from medtune.runtime.logfile import logfile
from medtune.runtime.paths import Paths
from medtune.stages.steps import Steps

log = logging.getLogger("medtune.flow")


def train(
    params_file: console.ParamsFile = None,
    sets: console.Sets = None,
    out: console.Out = None,
    prefect: Annotated[
        bool, typer.Option("--prefect/--no-prefect", help="Without: the same stages, keys and files, called directly.")
    ] = True,
) -> None:
    """Train, evaluate and export from data/prepared; finished steps are reused.

    Exits 0 when all is done, 1 when a stage failed (the log file has the traceback), 2 when the input was wrong.
    """
    run(load(params_file, sets or ()), Paths.at(out), prefect)


def run(params: Params, paths: Paths, prefect: bool = True) -> list[pipeline.StepResult]:
    """Train, evaluate and export; finished steps are reused.

    Args:
        params: all params.
        paths: where to read and write.
        prefect: record the run with Prefect; otherwise the same stages are called directly.

    Returns:
        One result per step, in order.

    Raises:
        InputError: the input is wrong, or the data are not prepared.
        StageFailed: a stage failed; the message names the log with its traceback.
    """
    if not paths.prepared.is_dir():
        load_prepared(paths.prepared)  # names the command to run first, before a folder is created
    with holding(paths), logfile(paths.cache / "logs", "train") as written:
        steps = Steps(params, paths)
        if not pipeline.complete(steps):
            from medtune.models.backbones import check

            check(params)
        try:
            results = _with_prefect(steps) if prefect else pipeline.run_directly(steps)
        except pipeline.StageFailed as failure:
            log.error("%s", "".join(traceback.format_exception(failure)))
            raise pipeline.StageFailed(f"{failure} (traceback in {written}; run again to resume)") from failure
        finish(steps, results)
        ran = sum(not result.cached for result in results)
        pipeline.note(f"done: {ran} of {len(results)} steps ran; bundle in {paths.stage('export')}")
    return results


def finish(steps: Steps, results: list[pipeline.StepResult]) -> None:
    """Record the pipeline with W&B and remove what earlier runs left in artifacts/."""
    records.to_wandb(steps.params, steps.paths, steps.group, results)
    pipeline.tidy(steps.params, steps.paths)


def _with_prefect(steps: Steps) -> list[pipeline.StepResult]:
    def through() -> list[pipeline.StepResult]:
        from medtune.flows import tasks

        return tasks.train(steps, name)

    params = steps.params
    head, fold = params.model.head.kind, params.data.split.test_fold
    name = f"{params.model.backbone} {head} {params.schedule} fold {fold} {time.strftime('%H:%M:%S')}"
    return with_prefect(name, steps.paths.cache, through, lambda: pipeline.run_directly(steps))


def main() -> None:
    """The command line."""
    try:
        console.run(train)
    except SystemExit as end:
        if "medtune.flows.server" in sys.modules:  # else Prefect was not asked
            sys.modules["medtune.flows.server"].end_without(
                end.code if isinstance(end.code, int) else int(end.code is not None)
            )
        raise


if __name__ == "__main__":
    main()
