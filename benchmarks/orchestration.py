"""`python -m benchmarks.orchestration`: measure the overhead of Prefect and Dask per step, per hour and per trial.

Every step and trial has an empty cached result, so nothing is computed. The remaining time is the overhead of Prefect
and of MedTune's checks. The overhead per trial is the difference in time between many and few trials, divided by the
difference in their number. It does not include the start of server and workers.
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
from benchmarks.synthetic_images import chosen, prepare
from benchmarks.timing import in_turns, seconds
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
CELL_MS, HOUR_PERCENT = 150.0, 1.0
FEW = 4
TINY = ("data.image_size=32", "data.patients=20", "data.images_per_patient=2", "model.backbone_args={img_size: 32}")
GRID = """
benchmark:
  data: {drawn: {source: synthetic, image_size: 32, labels: binary, patients: 20, images_per_patient: 2}}
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
    with TemporaryDirectory(prefix="medtune-") as place, _elsewhere(Path(place)):
        chained = _Chain.of(Path(place) / "chain")
        crossed = _Grid.of(Path(place) / "grid", number, workers)
        from medtune.flows import server

        begun = time.perf_counter()
        with server.server_connection(Path(place) / "cache"):
            start = time.perf_counter() - begun
            with redirect_stdout(StringIO()):
                return [*_steps(chained, start, rounds, warm_up), *_cells(crossed, rounds, warm_up)]


@contextmanager
def _elsewhere(folder: Path) -> Iterator[None]:
    """Put the cache and Prefect's database and settings into `folder`, and restore the environment afterwards."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with mock.patch.dict(os.environ, {**ours, "MEDTUNE_CACHE": str(folder / "cache")}, clear=True):
        environment.configure_prefect(folder / "cache")
        yield


@dataclass(frozen=True)
class _Chain:
    params: Params
    paths: RunPaths

    @classmethod
    def of(cls, folder: Path) -> "_Chain":
        """Prepare a small data set and write an empty result for every step."""
        params = chosen(None, TINY, {})
        prepare(params, folder)
        paths = RunPaths.from_env(folder / "out")

        def finished(step: Step) -> Artifact:
            record = {"stage": step.stage, "fold": step.fold}
            files = {"metrics.json": '{"test": {}}'} if step.stage == "evaluate" else {}
            return _record(paths.stage(step.stage, step.fold), step.key, record, files)

        pipeline.run(Steps(params, paths), finished)
        return cls(params, paths)

    def steps(self) -> Steps:
        """Return the pipeline before any step was looked up in the cache."""
        return Steps(self.params, self.paths)

    def direct(self) -> list[pipeline.StepResult]:
        """Call the stage functions one after the other, without Prefect."""
        return pipeline.run(self.steps(), lambda step: pipeline.run_stage(step, self.params, self.paths))


@dataclass(frozen=True)
class _Grid:
    params: BenchmarkParams
    paths: RunPaths
    works: list[jobs.TrialJob]

    @classmethod
    def of(cls, folder: Path, number: int, workers: int | None) -> "_Grid":
        """Prepare `number` trials and write an empty result for each."""
        paths = RunPaths.from_env(folder)
        write_text(folder / "grid.yaml", GRID)
        runner = f"benchmark.runner={{kind: local, workers: {workers or 'null'}}}"
        params, tree = load_grid(folder / "grid.yaml", [f"benchmark.seeds={list(range(number))}", runner])
        works = jobs.build_jobs(params, jobs.list_trials(params, tree), paths)
        for work in works:
            _record(trials.record_dir(paths, work.trial), work.key, {"stage": "benchmark"}, {})
        return cls(params, paths, works)

    def direct(self) -> None:
        """Call `medtune.benchmark.trial` for every trial, without Prefect."""
        for work in self.works:
            paths = replace(self.paths, data=work.prepared)
            trials.run(work.params, paths, work.trial, work.threads, work.with_validation)

    def through(self, number: int, name: str) -> None:
        """Run the first `number` trials as `medtune benchmark` does."""
        from medtune.flows import benchmark_trials as flow
        from medtune.flows import server

        def told(work: jobs.TrialJob, record: Artifact | None, error: str | None) -> str:
            if error is not None:
                raise RuntimeError(f"{work.trial.name}: {error}")
            return work.trial.name

        flow.run(self.works[:number], self.paths, self.params.retries, told, flow.task_runner(self.params), name)
        server.wait_until_settled(name)


def _steps(chained: _Chain, start: float, rounds: int, warm_up: int) -> list[Row]:
    from medtune.flows import server, tasks

    names = (f"steps {number}" for number in count())
    calls = {"direct": chained.direct, "flow": lambda: tasks.train(chained.steps(), next(names))}
    taken = in_turns(calls, rounds, warm_up)
    settle = seconds(lambda: server.wait_until_settled(f"steps {warm_up + rounds - 1}"))
    steps = len(chained.direct())
    flow, direct = (1e3 * taken[name] / steps for name in ("flow", "direct"))
    whole = start + taken["flow"] + settle - taken["direct"]
    return [
        Row("a finished step through the flow", flow, "ms", "its stage function called directly", direct,
            note=f"{flow - direct:.0f} ms per step, including the report"),
        Row("the flow's fraction of an hour", 100 * whole / HOUR_S, "%", at_most=HOUR_PERCENT,
            note=f"server {start:.1f} s, {steps} steps {taken['flow']:.2f} s, settling {settle:.1f} s"),
    ]  # fmt: skip


def _cells(crossed: _Grid, rounds: int, warm_up: int) -> list[Row]:
    names, many = (f"cells {number}" for number in count()), len(crossed.works)
    calls = {
        "direct": crossed.direct,
        "few": lambda: crossed.through(FEW, next(names)),
        "many": lambda: crossed.through(many, next(names)),
    }
    taken = in_turns(calls, rounds, warm_up)
    a_cell = (taken["many"] - taken["few"]) / (many - FEW)
    return [
        Row("a finished trial through the benchmark's flow", a_cell * 1e3, "ms", "the trial called directly",
            taken["direct"] / many * 1e3, at_most=CELL_MS,
            note=f"{many} trials minus {FEW}, {crossed.params.workers} workers"),
        Row("start and end of a benchmark's workers", taken["few"] - FEW * a_cell, "s", note="once per benchmark"),
    ]  # fmt: skip


def _record(folder: Path, key: str, result: dict[str, Any], files: Mapping[str, str]) -> Artifact:
    """Write an empty result."""
    for name, text in files.items():
        write_text(partial_dir(folder) / name, text)
    partial_dir(folder).mkdir(parents=True, exist_ok=True)
    return commit(folder, key, result)


def run(
    number: Annotated[int, typer.Option("--trials", min=FEW + 1, help="Trials of the benchmark.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds of each; medians are reported.")] = 3,
    workers: Annotated[int | None, typer.Option(help="Worker processes; default: one per core.")] = None,
    save: Save = False,
) -> None:
    """Measure the overhead of Prefect when nothing has to be computed."""
    finish("orchestration", measure(number, rounds, workers), save)


if __name__ == "__main__":
    program.run(run)
