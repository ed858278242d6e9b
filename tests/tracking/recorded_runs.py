"""Runs that were recorded offline, with the parts of each run merged."""

from collections.abc import Iterable
from pathlib import Path

from medtune.tracking.read import RecordedRun, read_run
from medtune.tracking.run_files import list_run_files


def read_runs(cache: Path) -> list[RecordedRun]:
    """Read all parts of the runs recorded offline under the project's cache folder, oldest first."""
    return [read_run(part.file) for part in list_run_files(cache) if part.offline]


def merge_parts(recorded: Iterable[RecordedRun]) -> dict[str, RecordedRun]:
    """Merge the parts of each run in the given order, as W&B does, and return the runs by id."""
    runs: dict[str, RecordedRun] = {}
    for part in recorded:
        run = runs.setdefault(part.run_id, RecordedRun())
        run.run_id, run.name, run.group, run.job_type = part.run_id, part.name, part.group, part.job_type
        run.project, run.entity, run.exit_code = part.project, part.entity, part.exit_code
        run.config.update(part.config)
        run.summary.update(part.summary)
        run.history += part.history
        run.files += part.files
        run.used += [version for version in part.used if version not in run.used]
        run.made += [version for version in part.made if version not in run.made]
    return runs
