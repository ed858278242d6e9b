"""The command `medtune retrain`, with or without Prefect."""

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
    """Fetch new data and code, train, compare with the accepted model, and publish the new model if it is better.

    If nothing has changed, or the new model is rejected, the function returns normally. The accepted model is replaced
    only after the new model is uploaded completely. If the code changed, the process restarts.

    Args:
        prefect: run the steps as a Prefect flow.
        accept: reason for publishing the new model even if the gate rejects it; None to follow the gate.

    Raises:
        InputError: the params, the data or a bundle are invalid.
        SystemExit: a step failed (exit code 1).
    """
    from medtune.serving.manifest import BundleError

    try:
        outcome = _with_prefect(accept) if prefect else retrain_steps.run(retrain_steps.direct(), accept)
    except BundleError as error:
        raise InputError(str(error)) from error
    except (pipeline.StageError, CommandError) as failure:
        log.error("%s", "".join(traceback.format_exception(failure)))
        print(f"error: {failure} (run again to resume; logs in {RunPaths.from_env().cache / 'logs'})", file=sys.stderr)
        raise SystemExit(1) from None
    if outcome == retrain_steps.RESTART_REQUIRED:
        console.info("retrain: restarting, because the code changed")
        os.execv(sys.executable, [sys.executable, "-m", "medtune", *sys.argv[1:]])


def _with_prefect(accept: str | None) -> str:
    name = f"by hand {time.strftime('%H:%M:%S')}"

    def run_flow() -> str:
        from medtune.flows import scheduled

        return scheduled.retrain.with_options(flow_run_name=name)(accept)

    return with_prefect(
        name, RunPaths.from_env().cache, run_flow, lambda: retrain_steps.run(retrain_steps.direct(), accept)
    )
