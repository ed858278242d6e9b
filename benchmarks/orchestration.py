"""`python -m benchmarks.orchestration`: measure the overhead of Prefect and Dask per step, per hour and per trial.

A step is a part of `medtune train`, and a trial is one training of `medtune benchmark`. Every step and trial has an
empty cached result, so nothing is computed. The remaining time is the overhead of Prefect and of MedTune's checks. The
overhead per trial is the difference in time between many and few trials, divided by the difference in their number. It
does not include the start of server and workers.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from unittest import mock

import typer

from benchmarks.results import Row, Save, finish
from benchmarks.synthetic_images import benchmark_params, prepare
from benchmarks.timing import seconds, time_alternately
from medtune.benchmark import jobs
from medtune.benchmark import trial as trials
from medtune.benchmark.grid import BenchmarkParams, load_grid
from medtune.cli import program
from medtune.config.schema import Params
from medtune.flows import environment, pipeline
from medtune.runtime.artifact import Artifact, commit, partial_dir, write_text
from medtune.runtime.paths import RunPaths
from medtune.stages.steps import Step, Steps

HOUR_S = 3600.0
TRIAL_MS, HOUR_PERCENT = 150.0, 1.0
FEWER_TRIALS = 4
TINY = ("data.image_size=32", "data.patients=20", "data.images_per_patient=2", "model.backbone_args={img_size: 32}")
GRID = """
benchmark:
  data: {synthetic: {source: synthetic, image_size: 32, labels: binary, patients: 20, images_per_patient: 2}}
  backbones: {test_vit: {weights: none, backbone_args: {img_size: 32}}}
  methods: [linear]
  train_percent: [100]
"""


def measure(number: int = 64, rounds: int = 3, workers: int | None = None, warm_up: int = 1) -> list[Row]:
    """Measure the overhead per step, per flow and per trial.

    Args:
        number: number of trials.
        rounds: alternating rounds of each variant; medians are reported.
        workers: worker processes; None: one per core, as in `make benchmark`.
        warm_up: additional rounds at the start that are not measured.

    Returns:
        One row per measurement.
    """
    with TemporaryDirectory(prefix="medtune-") as temporary, _isolated_environment(Path(temporary)):
        cached_pipeline = _CachedPipeline.of(Path(temporary) / "chain")
        cached_trials = _CachedTrials.of(Path(temporary) / "grid", number, workers)
        from medtune.flows import server

        before = time.perf_counter()
        with server.server_connection(Path(temporary) / "cache"):
            server_start = time.perf_counter() - before
            with redirect_stdout(StringIO()):
                step_rows = _step_rows(cached_pipeline, server_start, rounds, warm_up)
                return [*step_rows, *_trial_rows(cached_trials, rounds, warm_up)]


@contextmanager
def _isolated_environment(folder: Path) -> Iterator[None]:
    """Put the cache and Prefect's database and settings into `folder`, and restore the environment afterwards."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with mock.patch.dict(os.environ, {**inherited, "MEDTUNE_CACHE": str(folder / "cache")}, clear=True):
        environment.configure_prefect(folder / "cache")
        yield


@dataclass(frozen=True)
class _CachedPipeline:
    """A pipeline whose steps all have a cached result."""

    params: Params
    paths: RunPaths

    @classmethod
    def of(cls, folder: Path) -> "_CachedPipeline":
        """Prepare a small data set and write an empty result for every step."""
        params = benchmark_params(None, TINY, {})
        prepare(params, folder)
        paths = RunPaths.from_env(folder / "out")

        def write_result(step: Step) -> Artifact:
            result = {"stage": step.stage, "fold": step.fold}
            files = {"metrics.json": '{"test": {}}'} if step.stage == "evaluate" else {}
            return _write_empty_result(paths.stage(step.stage, step.fold), step.key, result, files)

        pipeline.run(Steps(params, paths), write_result)
        return cls(params, paths)

    def steps(self) -> Steps:
        """Return the pipeline before any step was looked up in the cache."""
        return Steps(self.params, self.paths)

    def direct(self) -> list[pipeline.StepResult]:
        """Call the stage functions one after the other, without Prefect."""
        steps = self.steps()
        return pipeline.run(steps, lambda step: pipeline.run_stage(step, steps))


@dataclass(frozen=True)
class _CachedTrials:
    """Trials of a benchmark that all have a cached result."""

    params: BenchmarkParams
    paths: RunPaths
    trial_jobs: list[jobs.TrialJob]

    @classmethod
    def of(cls, folder: Path, number: int, workers: int | None) -> "_CachedTrials":
        """Prepare `number` trials and write an empty result for each."""
        paths = RunPaths.from_env(folder)
        write_text(folder / "grid.yaml", GRID)
        runner = f"benchmark.runner={{kind: local, workers: {workers or 'null'}}}"
        params, tree = load_grid(folder / "grid.yaml", [f"benchmark.seeds={list(range(number))}", runner])
        trial_jobs = jobs.build_jobs(params, jobs.list_trials(params, tree), paths)
        for job in trial_jobs:
            _write_empty_result(trials.record_dir(paths, job.trial), job.key, {"stage": "benchmark"}, {})
        return cls(params, paths, trial_jobs)

    def direct(self) -> None:
        """Call `medtune.benchmark.trial` for every trial, without Prefect."""
        for job in self.trial_jobs:
            paths = replace(self.paths, data=job.prepared)
            trials.run(job.params, paths, job.trial, job.threads, job.with_validation)

    def run_flow(self, number: int, name: str) -> None:
        """Run the first `number` trials as `medtune benchmark` does."""
        from medtune.flows import benchmark_trials as flow
        from medtune.flows import server

        def on_result(job: jobs.TrialJob, record: Artifact | None, error: str | None) -> str:
            if error is not None:
                raise RuntimeError(f"{job.trial.name}: {error}")
            return job.trial.name

        runner = flow.task_runner(self.params)
        flow.run(self.trial_jobs[:number], self.paths, self.params.retries, on_result, runner, name)
        server.wait_until_settled(name)


def _step_rows(cached_pipeline: _CachedPipeline, server_start: float, rounds: int, warm_up: int) -> list[Row]:
    from medtune.flows import server, tasks

    names = (f"steps {number}" for number in count())
    calls = {"direct": cached_pipeline.direct, "flow": lambda: tasks.train(cached_pipeline.steps(), next(names))}
    durations = time_alternately(calls, rounds, warm_up)
    server_wait = seconds(lambda: server.wait_until_settled(f"steps {warm_up + rounds - 1}"))
    steps = len(cached_pipeline.direct())
    flow, direct = (1e3 * durations[name] / steps for name in ("flow", "direct"))
    overhead = server_start + durations["flow"] + server_wait - durations["direct"]
    return [
        Row("a step whose result is cached, run through the flow", flow, "ms",
            "stage function called directly", direct,
            note=f"{flow - direct:.0f} ms more per step, including the report in Prefect"),
        Row("overhead of the flow and the Prefect server, percentage of a run of one hour", 100 * overhead / HOUR_S,
            "%", at_most=HOUR_PERCENT, note=f"server {server_start:.1f} s, {steps} steps {durations['flow']:.2f} s, "
            f"waiting for the server {server_wait:.1f} s"),
    ]  # fmt: skip


def _trial_rows(cached_trials: _CachedTrials, rounds: int, warm_up: int) -> list[Row]:
    names, all_trials = (f"trials {number}" for number in count()), len(cached_trials.trial_jobs)
    calls = {
        "direct": cached_trials.direct,
        "fewer trials": lambda: cached_trials.run_flow(FEWER_TRIALS, next(names)),
        "all trials": lambda: cached_trials.run_flow(all_trials, next(names)),
    }
    durations = time_alternately(calls, rounds, warm_up)
    trial_seconds = (durations["all trials"] - durations["fewer trials"]) / (all_trials - FEWER_TRIALS)
    return [
        Row("a trial whose result is cached, run through the benchmark's flow", trial_seconds * 1e3, "ms",
            "trial function called directly", durations["direct"] / all_trials * 1e3, at_most=TRIAL_MS,
            note=f"difference between {all_trials} and {FEWER_TRIALS} trials, {cached_trials.params.workers} workers"),
        Row("start and shutdown of the benchmark's workers", durations["fewer trials"] - FEWER_TRIALS * trial_seconds,
            "s", note="once per benchmark"),
    ]  # fmt: skip


def _write_empty_result(folder: Path, key: str, result: dict[str, Any], files: Mapping[str, str]) -> Artifact:
    """Write `files` and the entries `result` into a folder, as the cached result with the key `key`."""
    for name, text in files.items():
        write_text(partial_dir(folder) / name, text)
    partial_dir(folder).mkdir(parents=True, exist_ok=True)
    return commit(folder, key, result)


def run(
    number: Annotated[int, typer.Option("--trials", min=FEWER_TRIALS + 1, help="Trials of the benchmark.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds of each; medians are reported.")] = 3,
    workers: Annotated[int | None, typer.Option(help="Worker processes; default: one per core.")] = None,
    save: Save = False,
) -> None:
    """Measure the overhead of Prefect when nothing has to be computed."""
    finish("orchestration", measure(number, rounds, workers), save)


if __name__ == "__main__":
    program.run(run)
