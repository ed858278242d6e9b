"""Benchmark as a Prefect flow: one task per trial, run by local processes or by a Dask cluster."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import distributed
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import TaskRunner
from prefect_dask.task_runners import DaskTaskRunner

from medtune.benchmark.grid import BenchmarkParams, DaskRunner
from medtune.benchmark.jobs import TrialJob
from medtune.benchmark.worker import OnResult, run_job
from medtune.runtime.artifact import Artifact
from medtune.runtime.paths import RunPaths

RETRY_AFTER_S = 2
# Dask warns if the port of its dashboard is in use. MedTune does not use this dashboard.
warnings.filterwarnings("ignore", "Port 8787 is already in use", UserWarning)


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retry_delay_seconds=RETRY_AFTER_S)
def run_trial(name: str, work: dict[str, Any], out: str, cache: str) -> dict[str, str]:
    """Run one trial.

    Args:
        name: name of the trial, which Prefect shows.
        work: the trial, as `TrialJob.as_dict()`.
        out: folder that contains artifacts/.
        cache: cache folder.

    Returns:
        The record of the trial, as `Artifact.as_dict()`.
    """
    return run_job(work, out, cache)


def task_runner(grid: BenchmarkParams) -> TaskRunner[Any]:
    """Return the Prefect task runner that `benchmark.runner` selects: local processes or a Dask cluster."""
    if isinstance(grid.runner, DaskRunner):
        return DaskTaskRunner(address=grid.runner.address)
    options = {
        "n_workers": grid.workers,
        "threads_per_worker": 1,  # two trials in one process would share torch's random number generator
        "processes": True,
        "memory_limit": 0,
        "dashboard_address": None,
        "silence_logs": logging.CRITICAL,
    }
    return DaskTaskRunner(cluster_kwargs=options)


def run(
    jobs: Sequence[TrialJob], paths: RunPaths, retries: int, on_result: OnResult, runner: TaskRunner[Any], name: str
) -> None:
    """Run all jobs as one flow run.

    Args:
        jobs: the trials to run, at least one.
        paths: where to read and write.
        retries: number of retries of a failed trial.
        on_result: function that is called for each job when it ends. It returns the line for Prefect's page.
        runner: result of `task_runner`.
        name: name of the flow run.
    """

    @flow(name="benchmark", flow_run_name=name, task_runner=runner, persist_result=False)
    def benchmark(trials: int) -> None:
        configured = run_trial.with_options(retries=retries)
        submitted = {}
        for job in jobs:
            future: Any = configured.submit(
                name=job.trial.name, work=job.as_dict(), out=str(paths.out), cache=str(paths.cache)
            )
            submitted[future.wrapped_future] = job
        lines = []
        loop = next(iter(submitted)).client.loop  # Prefect's Dask client is not Dask's default client
        for completed in distributed.as_completed(list(submitted), loop=loop):  # type: ignore[no-untyped-call]
            job = submitted[completed]
            try:
                state = completed.result()
                lines.append(on_result(job, Artifact(**state.result(raise_on_failure=True)), None))
            except Exception as error:  # record the failure and continue with the remaining trials
                lines.append(on_result(job, None, f"{type(error).__name__}: {error}"))
        create_markdown_artifact("\n".join(f"- {line}" for line in lines), key="benchmark-trials")

    benchmark(len(jobs))
