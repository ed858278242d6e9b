"""Run of a benchmark: all trials of the grid in benchmark.yaml, followed by results.csv and report.html.

A trial is one combination of data, backbone, method, training percentage and seed. A finished trial has a record on
disk (an artifact) and is not run again.
"""

import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from medtune.benchmark import jobs, summary_files, worker
from medtune.benchmark import trial as trials
from medtune.benchmark.grid import BenchmarkParams, DaskRunner, TrialId, filter_trials, load_grid
from medtune.config.errors import InputError
from medtune.flows.prefect_run import with_prefect
from medtune.runtime.artifact import Artifact
from medtune.runtime.console import info
from medtune.runtime.lock import output_lock
from medtune.runtime.logfile import logfile
from medtune.runtime.paths import RunPaths
from medtune.runtime.progress import progress
from medtune.serving.one_line import first_line

log = logging.getLogger("medtune.flow")


def benchmark(
    grid_file: Path | None = None,
    sets: Sequence[str] | None = None,
    out: Path | None = None,
    only: Sequence[str] | None = None,
    max_trials: int | None = None,
    resume: bool = True,
    prefect: bool = True,
) -> None:
    """Run the trials of the grid and write results.csv and report.html to artifacts/benchmark.

    The report shows trials that were excluded or not reached as pending.

    Args:
        grid_file: file with the grid; None for benchmark.yaml.
        sets: overrides of params as `key=value`.
        out: folder that will contain artifacts/; None for the default folder.
        only: filters `field=value[,value]` that select trials; None for all trials.
        max_trials: maximum number of trials to run; None for no limit.
        resume: keep the records of earlier runs. If False, the records of the selected trials are deleted first.
        prefect: run the trials as a Prefect flow.

    Raises:
        InputError: the grid, an override or a filter is invalid, or no Dask scheduler answers.
        SystemExit: a trial failed after all retries (exit code 1).
    """
    grid, tree = load_grid(grid_file, sets or ())
    params = jobs.list_trials(grid, tree)
    tracked = jobs.summary_params(tree, next(iter(params.values())))
    selected = set(filter_trials(list(params), only or ()))
    jobs.check(grid, {trial: params[trial] for trial in selected})
    paths = RunPaths.from_env(out)
    with output_lock(paths), logfile(paths.cache / "logs", "benchmark"):
        all_jobs = jobs.build_jobs(grid, params, paths)
        if not resume:
            for trial in selected:
                shutil.rmtree(trials.record_dir(paths, trial), ignore_errors=True)
        records = {job.trial: jobs.find_record(job, paths) for job in all_jobs}
        missing = [job for job in all_jobs if job.trial in selected and records[job.trial] is None][:max_trials]
        n_finished = sum(record is not None for record in records.values())
        info(f"benchmark: {len(records)} trials, {n_finished} already finished, {len(missing)} to run")
        errors = _run_missing(grid, missing, paths, records, prefect) if missing else {}
        lines = summary_files.write_summary(grid, all_jobs, records, errors, paths)
        if missing:
            summary_files.log_summary(tracked, records, lines, grid.metric)
    for trial, error in errors.items():
        print(f"error: {trial.name} failed: {error}", file=sys.stderr)
    if errors:
        raise SystemExit(1)


def _run_missing(
    grid: BenchmarkParams,
    missing: Sequence[jobs.TrialJob],
    paths: RunPaths,
    records: dict[TrialId, Artifact | None],
    prefect: bool,
) -> dict[TrialId, str]:
    """Run the missing trials and add their records to `records`.

    Returns:
        The error message of each trial that failed after all retries.
    """
    errors: dict[TrialId, str] = {}
    if prefect and isinstance(grid.runner, DaskRunner):
        _require_scheduler(grid.runner.address)
    with progress("benchmark", len(missing), "trials") as advance:

        def on_result(job: jobs.TrialJob, record: Artifact | None, error: str | None) -> str:
            """Store and log the result of a trial, and return the logged line."""
            records[job.trial] = record
            if error is not None:
                errors[job.trial] = error
            line = f"{job.trial.name}: {error or _metric_text(record, grid.metric)}"
            log.info(line)
            advance(1, line)
            return line

        if prefect:
            _with_prefect(grid, missing, paths, on_result)
        for job in missing:  # without Prefect, or if Prefect or Dask failed
            if records[job.trial] is None and job.trial not in errors:
                worker.run_locally(job, paths, grid.retries, on_result)
    return errors


def _require_scheduler(address: str) -> None:
    """Check that a Dask scheduler answers. The check is quicker than the start of a Prefect server.

    Raises:
        InputError: no Dask scheduler answers at `address`.
    """
    import distributed

    try:
        client = distributed.Client(address, timeout=10, set_as_default=False)  # type: ignore[no-untyped-call]
        client.close()  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"benchmark.runner.address={address}: no Dask scheduler answers. Check the address ({first_line(error)})"
        ) from None


def _with_prefect(
    grid: BenchmarkParams, missing: Sequence[jobs.TrialJob], paths: RunPaths, on_result: worker.OnResult
) -> None:
    """Run the missing trials as one flow run. If Prefect or Dask fails, return early without an error."""
    name = f"benchmark {len(missing)} trials {time.strftime('%H:%M:%S')}"

    def run_flow() -> None:
        from medtune.flows import benchmark_trials as flow

        flow.run(missing, paths, grid.retries, on_result, flow.task_runner(grid), name)

    with_prefect(name, paths.cache, run_flow, lambda: None)


def _metric_text(record: Artifact | None, metric: str) -> str:
    """Format the metric of a record."""
    value = record.result()["metrics"][metric]["value"] if record else None
    return f"{metric} undefined" if value is None else f"{metric} {value:.3f}"
