"""Retraining as a command: with Prefect or without, with the exit codes of the command line."""

import logging
import os
import sys
import time
import traceback

from medtune.config.errors import InputError
from medtune.flows import pipeline, retrain_steps
from medtune.flows.prefect_run import with_prefect
from medtune.registry.git_dvc import CommandError
from medtune.runtime import console
from medtune.runtime.paths import RunPaths

log = logging.getLogger("medtune.flow")


def retrain(prefect: bool = True, accept: str | None = None) -> None:
    """Fetch what is new, train, compare with the accepted model, hand over what is better.

    Exits 0 when it is done (also where the new model was refused, or nothing had changed), 1 when a step failed,
    2 when the input was wrong. The accepted model stays until a better one is there whole.
    """
    from medtune.serving.manifest import BundleError

    try:
        ended = _with_prefect(accept) if prefect else retrain_steps.run(retrain_steps.direct(), accept)
    except BundleError as error:
        raise InputError(str(error)) from error
    except (pipeline.StageError, CommandError) as failure:
        log.error("%s", "".join(traceback.format_exception(failure)))
        print(f"error: {failure} (run again to resume; logs in {RunPaths.from_env().cache / 'logs'})", file=sys.stderr)
        raise SystemExit(1) from None
    if ended == retrain_steps.RESTART_REQUIRED:
        console.info("retrain: the code changed: starting again with it")
        os.execv(sys.executable, [sys.executable, "-m", "medtune", *sys.argv[1:]])


def _with_prefect(accept: str | None) -> str:
    name = f"by hand {time.strftime('%H:%M:%S')}"

    def through() -> str:
        from medtune.flows import scheduled

        return scheduled.retrain.with_options(flow_run_name=name)(accept)

    return with_prefect(
        name, RunPaths.from_env().cache, through, lambda: retrain_steps.run(retrain_steps.direct(), accept)
    )
