"""One trial computed in whatever process it was sent to."""

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

# Told of a trial that ended: its record, or what went wrong; gives the line that was said of it.
OnResult = Callable[[TrialJob, Artifact | None, str | None], str]


def run_job(job: dict[str, Any], out: str, cache: str) -> dict[str, str]:
    """The finished record of one trial, as `Artifact.as_dict()`.

    Args:
        job: from `TrialJob.as_dict`.
        out: folder of artifacts/.
        cache: folder of unfinished work and stored features.

    Raises:
        RuntimeError: this process would compute something else than was asked for: other code, versions or device.
    """
    from medtune.benchmark import trial as trials

    trial, params = TrialId(**job["trial"]), validate(job["params"])
    paths = RunPaths(Path(out), Path(cache), data=Path(job["prepared"]))
    threads, with_validation = job["threads"], job["with_validation"]
    if trials.trial_key(params, open_prepared(paths), trial, threads, with_validation) != job["key"]:
        raise RuntimeError(
            f"this worker's code, library versions, data or device ({device_class()}) are not those that asked for the "
            "trial: restart the workers from the same checkout, or set MEDTUNE_DEVICE for both"
        )
    with redirect_stdout(io.StringIO()):  # several trials at once: the one who asked says how far they are
        return trials.run(params, paths, trial, threads, with_validation).as_dict()


def run_locally(job: TrialJob, paths: RunPaths, retries: int, on_result: OnResult) -> None:
    """Computes one trial in this process, tried again where it fails."""
    for attempt in range(retries + 1):
        try:
            record = Artifact(**run_job(job.as_dict(), str(paths.out), str(paths.cache)))
        except Exception as error:  # reported as this trial's figure; the others go on
            if attempt == retries:
                on_result(job, None, f"{type(error).__name__}: {error}")
        else:
            on_result(job, record, None)
            return
