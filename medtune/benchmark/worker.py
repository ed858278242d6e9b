"""Execution of one trial, in this process or in a worker process."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from medtune.benchmark.grid import TrialId
from medtune.benchmark.jobs import TrialJob
from medtune.config.load import validate
from medtune.data.prepared import open_prepared
from medtune.runtime.artifact import Artifact
from medtune.runtime.device import device_class
from medtune.runtime.paths import RunPaths

# Function that is called when a trial ends, with its record or an error message. It returns a line for logs.
OnResult = Callable[[TrialJob, Artifact | None, str | None], str]


def run_job(job: dict[str, Any], out: str, cache: str) -> dict[str, str]:
    """Run one trial.

    Args:
        job: result of `TrialJob.as_dict`.
        out: folder that contains artifacts/.
        cache: folder for unfinished work and stored features.

    Returns:
        The record of the trial, as `Artifact.as_dict()`.

    Raises:
        RuntimeError: the code, versions, data or device of this process differ from those of the caller, or training
            diverged.
    """
    from medtune.benchmark import trial as trials

    trial, params = TrialId(**job["trial"]), validate(job["params"])
    paths = RunPaths(Path(out), Path(cache), data=Path(job["prepared"]))
    threads, with_validation = job["threads"], job["with_validation"]
    if trials.trial_key(params, open_prepared(paths), trial, threads, with_validation) != job["key"]:
        raise RuntimeError(
            f"the code, library versions, data or device ({device_class()}) of this worker differ from those of the "
            "caller. Restart the workers from the same checkout, or set MEDTUNE_DEVICE for both."
        )
    with redirect_stdout(io.StringIO()):  # trials run in parallel, so only the caller reports progress
        return trials.run(params, paths, trial, threads, with_validation).as_dict()


def run_locally(job: TrialJob, paths: RunPaths, retries: int, on_result: OnResult) -> None:
    """Run one trial in this process, with up to `retries` retries. Pass the record or the error to `on_result`."""
    for attempt in range(retries + 1):
        try:
            record = Artifact(**run_job(job.as_dict(), str(paths.out), str(paths.cache)))
        except Exception as error:  # record the failure and continue with the remaining trials
            if attempt == retries:
                on_result(job, None, f"{type(error).__name__}: {error}")
        else:
            on_result(job, record, None)
            return
