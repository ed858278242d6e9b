"""The benchmark as Prefect sees it: one task a missing trial, on worker processes here or on a Dask cluster."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import distributed
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import TaskRunner
from prefect_dask import DaskTaskRunner

from medtune.benchmark.grid import BenchmarkParams, DaskRunner
from medtune.benchmark.jobs import TrialJob
from medtune.benchmark.worker import OnResult, run_job
from medtune.runtime.artifact import Artifact
from medtune.runtime.paths import RunPaths

RETRY_AFTER_S = 2
# Of two benchmarks at once the second takes another port for a page that nobody asked for.
warnings.filterwarnings("ignore", "Port 8787 is already in use", UserWarning)


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retry_delay_seconds=RETRY_AFTER_S)
def run_trial(name: str, work: dict[str, Any], out: str, cache: str) -> dict[str, str]:
    """The finished record of one trial, as `Artifact.as_dict()`. What is there already was found on disk before."""
    return run_job(work, out, cache)


def task_runner(grid: BenchmarkParams) -> TaskRunner[Any]:
    """Where trials are computed: processes of this machine, or the cluster that `benchmark.runner` names."""
    if isinstance(grid.runner, DaskRunner):
        return DaskTaskRunner(address=grid.runner.address)
    options = {
        "n_workers": grid.workers,
        "threads_per_worker": 1,  # two trials in one process would share torch's random numbers
        "processes": True,
        "memory_limit": 0,
        "dashboard_address": None,
        "silence_logs": logging.CRITICAL,
    }
    return DaskTaskRunner(cluster_kwargs=options)


def run(
    jobs: Sequence[TrialJob], paths: RunPaths, retries: int, on_result: OnResult, runner: TaskRunner[Any], name: str
) -> None:
    """Computes every one of `jobs` as one flow run; `on_result` hears of each as it ends."""

    @flow(name="benchmark", flow_run_name=name, task_runner=runner, persist_result=False)
    def benchmark(trials: int) -> None:
        configured = run_trial.with_options(retries=retries)
        submitted = {}
        for work in jobs:
            future: Any = configured.submit(
                name=work.trial.name, work=work.as_dict(), out=str(paths.out), cache=str(paths.cache)
            )
            submitted[future.wrapped_future] = work
        lines = []
        loop = next(iter(submitted)).client.loop  # Prefect's Dask client is not Dask's default one
        for ended in distributed.as_completed(list(submitted), loop=loop):
            work = submitted[ended]
            try:
                state = ended.result()
                lines.append(on_result(work, Artifact(**state.result(raise_on_failure=True)), None))
            except Exception as error:  # whatever a trial failed of is its figure, and no reason to stop the others
                lines.append(on_result(work, None, f"{type(error).__name__}: {error}"))
        create_markdown_artifact("\n".join(f"- {line}" for line in lines), key="benchmark-cells")

    benchmark(len(jobs))
