"""The training pipeline: frozen, finetune, evaluate, export. A step runs only if its result does not exist yet."""

import logging
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.schema import Params
from medtune.data.manifest import Prepared, load_prepared
from medtune.flows import environment, pipeline, records
from medtune.runtime.lock import holding
from medtune.runtime.logfile import logfile
from medtune.runtime.paths import Paths
from medtune.serving.one_line import first_line
from medtune.stages.preflight import ready

log = logging.getLogger("medtune.flow")


def train(
    params_file: Path | None = None, sets: Sequence[str] | None = None, out: Path | None = None, prefect: bool = True
) -> None:
    """Train, evaluate and export from data/prepared; finished steps are reused.

    Exits 0 when all is done, 1 when a stage failed (the log file has the traceback), 2 when the input was wrong.
    """
    params = load(params_file, sets or ())
    paths = Paths.at(out)
    if not paths.prepared.is_dir():
        load_prepared(paths.prepared)  # says what to run first, before a folder is made
    with holding(paths), logfile(paths.cache / "logs", "train") as written:
        prepared = ready(params, paths)
        if not pipeline.complete(params, paths, prepared):
            from medtune.models.backbones import check

            check(params)
        try:
            steps = _with_prefect(params, paths, prepared) if prefect else direct(params, paths, prepared)
        except pipeline.StageFailed as failure:
            log.error("%s", "".join(traceback.format_exception(failure)))
            print(f"error: {failure} (traceback in {written}; run again to resume)", file=sys.stderr)
            raise SystemExit(1) from None
        records.to_wandb(params, paths, pipeline.pipeline_key(params, prepared), steps)
        pipeline.tidy(params, paths)
        ran = sum(not step.cached for step in steps)
        pipeline.note(f"done: {ran} of {len(steps)} steps ran; bundle in {paths.stage('export')}")


def direct(params: Params, paths: Paths, prepared: Prepared) -> list[pipeline.Done]:
    """How every step of the chain went, called one after the other, without Prefect."""
    group = pipeline.pipeline_key(params, prepared)
    return pipeline.run(
        params, paths, prepared, lambda step, found: found or pipeline.run_stage(step, params, paths, group)
    )


def _with_prefect(params: Params, paths: Paths, prepared: Prepared) -> list[pipeline.Done]:
    """The chain as a Prefect flow; directly where Prefect itself fails, since finished steps are found again."""
    environment.prepare(paths.cache)
    from medtune.flows import server, tasks

    head, fold = params.model.head.kind, params.data.split.test_fold
    name = f"{params.model.backbone} {head} {params.schedule} fold {fold} {time.strftime('%H:%M:%S')}"
    try:
        with server.connected(paths.cache):
            try:
                return tasks.train(params.model_dump(mode="json"), str(paths.out), name)
            finally:
                server.settle(name)
    except (pipeline.StageFailed, InputError):
        raise
    except Exception as error:  # a fault of Prefect's, of whatever type, must not cost a training run
        log.warning("Prefect failed", exc_info=True)
        pipeline.note(f"Prefect: {first_line(error, with_type=True)}; going on without it")
        return direct(params, paths, prepared)
