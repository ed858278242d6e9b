"""The method comparison: every trial of benchmark.yaml. A trial runs only if its record does not exist yet."""

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
    """Compare methods on the grid of benchmark.yaml: artifacts/benchmark/results.csv and report.html.

    Exits 0 when nothing failed (trials left out by --only and --max-trials are pending), 1 when a trial failed even
    when tried again, 2 when the input was wrong.
    """
    chosen, tree = load_grid(grid_file, sets or ())
    params = jobs.list_trials(chosen, tree)
    wanted = set(filter_trials(list(params), only or ()))
    jobs.check([params[trial] for trial in wanted])
    paths = RunPaths.from_env(out)
    with output_lock(paths), logfile(paths.cache / "logs", "benchmark"):
        works = jobs.build_jobs(chosen, params, paths)
        if not resume:
            for trial in wanted:
                shutil.rmtree(trials.record_dir(paths, trial), ignore_errors=True)
        records = {work.trial: jobs.find_record(work, paths) for work in works}
        missing = [work for work in works if work.trial in wanted and records[work.trial] is None][:max_trials]
        found = sum(record is not None for record in records.values())
        info(f"benchmark: {len(records)} trials, {found} found, {len(missing)} to compute")
        errors = _compute(chosen, missing, paths, records, prefect) if missing else {}
        lines = summary_files.write_summary(chosen, works, records, errors, paths)
        if missing:
            summary_files.log_summary(tree, records, lines, chosen.metric)
    for trial, error in errors.items():
        print(f"error: {trial.name} failed: {error}", file=sys.stderr)
    if errors:
        raise SystemExit(1)


def _compute(
    chosen: BenchmarkParams,
    missing: Sequence[jobs.TrialJob],
    paths: RunPaths,
    records: dict[TrialId, Artifact | None],
    prefect: bool,
) -> dict[TrialId, str]:
    """Fills `records`; gives what went wrong with the trials that failed even when tried again."""
    errors: dict[TrialId, str] = {}
    if prefect and isinstance(chosen.runner, DaskRunner):
        _require_scheduler(chosen.runner.address)
    with progress("benchmark", len(missing), "trials") as advance:

        def on_result(job: jobs.TrialJob, record: Artifact | None, error: str | None) -> str:
            records[job.trial] = record
            if error is not None:
                errors[job.trial] = error
            line = f"{job.trial.name}: {error or _metric_text(record, chosen.metric)}"
            log.info(line)
            advance(1, line)
            return line

        if prefect:
            _with_prefect(chosen, missing, paths, on_result)
        for work in missing:  # all of them, or what a fault of Prefect's or Dask's own left undone
            if records[work.trial] is None and work.trial not in errors:
                worker.run_locally(work, paths, chosen.retries, on_result)
    return errors


def _require_scheduler(address: str) -> None:
    """Check that a Dask scheduler answers, before a Prefect server starts.

    Raises:
        InputError: no Dask scheduler answers at `address`.
    """
    import distributed

    try:
        distributed.Client(address, timeout=10, set_as_default=False).close()
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"benchmark.runner.address is {address!r}: no Dask scheduler answers there ({error})"
        ) from None


def _with_prefect(
    chosen: BenchmarkParams, missing: Sequence[jobs.TrialJob], paths: RunPaths, on_result: worker.OnResult
) -> None:
    """Compute `missing` as one flow run; what Prefect or Dask leave undone stays missing."""
    name = f"benchmark {len(missing)} trials {time.strftime('%H:%M:%S')}"

    def through() -> None:
        from medtune.flows import benchmark_trials as flow

        flow.run(missing, paths, chosen.retries, on_result, flow.task_runner(chosen), name)

    with_prefect(name, paths.cache, through, lambda: None)


def _metric_text(record: Artifact | None, metric: str) -> str:
    value = record.result()["metrics"][metric]["value"] if record else None
    return f"{metric} undefined" if value is None else f"{metric} {value:.3f}"
