"""`python -m benchmarks.orchestration`: what Prefect and Dask cost a step, a run of an hour and a benchmark cell.

Every step and cell is finished beforehand (an empty record under the right key), so that there is nothing to compute:
what is left is Prefect's part and our own checks. A cell's cost is the slope between a few cells and many, so that the
start of server and workers, once a benchmark, stays out of it.
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
  percent: [100]
"""


def measure(number: int = 64, rounds: int = 3, workers: int | None = None, warm_up: int = 1) -> list[Row]:
    """Overhead a step, of a whole flow, and a cell.

    Args:
        number: of cells.
        rounds: of each, in turns.
        workers: processes that compute cells; None: one a core, as `make benchmark` has them.
        warm_up: rounds before, that do not count.
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
    """Cache, Prefect's database and settings in `folder`, the environment restored afterwards."""
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
        """A small set prepared, and an empty record for every step."""
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
        """The pipeline, with nothing resolved yet."""
        return Steps(self.params, self.paths)

    def direct(self) -> list[pipeline.StepResult]:
        """The stage functions, one after the other."""
        return pipeline.run(self.steps(), lambda step: pipeline.run_stage(step, self.params, self.paths))


@dataclass(frozen=True)
class _Grid:
    params: BenchmarkParams
    paths: RunPaths
    works: list[jobs.TrialJob]

    @classmethod
    def of(cls, folder: Path, number: int, workers: int | None) -> "_Grid":
        """`number` cells with an empty record each."""
        paths = RunPaths.from_env(folder)
        write_text(folder / "grid.yaml", GRID)
        runner = f"benchmark.runner={{kind: local, workers: {workers or 'null'}}}"
        params, tree = load_grid(folder / "grid.yaml", [f"benchmark.seeds={list(range(number))}", runner])
        works = jobs.build_jobs(params, jobs.list_trials(params, tree), paths)
        for work in works:
            _record(trials.record_dir(paths, work.trial), work.key, {"stage": "benchmark"}, {})
        return cls(params, paths, works)

    def direct(self) -> None:
        """`medtune.benchmark.trial` for every cell."""
        for work in self.works:
            paths = replace(self.paths, data=work.prepared)
            trials.run(work.params, paths, work.trial, work.threads, work.with_validation)

    def through(self, number: int, name: str) -> None:
        """The first `number` cells as `medtune benchmark` computes them."""
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
            note=f"{flow - direct:.0f} ms a step, the report among them"),
        Row("the flow's share of an hour", 100 * whole / HOUR_S, "%", at_most=HOUR_PERCENT,
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
        Row("a finished cell through the benchmark's flow", a_cell * 1e3, "ms", "the cell called directly",
            taken["direct"] / many * 1e3, at_most=CELL_MS,
            note=f"{many} cells less {FEW}, {crossed.params.workers} workers"),
        Row("start and end of a benchmark's workers", taken["few"] - FEW * a_cell, "s", note="once a benchmark"),
    ]  # fmt: skip


def _record(folder: Path, key: str, result: dict[str, Any], files: Mapping[str, str]) -> Artifact:
    """A finished record that nothing was computed for."""
    for name, text in files.items():
        write_text(partial_dir(folder) / name, text)
    partial_dir(folder).mkdir(parents=True, exist_ok=True)
    return commit(folder, key, result)


def run(
    number: Annotated[int, typer.Option("--cells", min=FEW + 1, help="Cells of the benchmark.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Of each, in turns; medians count.")] = 3,
    workers: Annotated[int | None, typer.Option(help="Processes that compute cells; default: one a core.")] = None,
    save: Save = False,
) -> None:
    """Measure what running through Prefect costs where nothing is to be computed."""
    finish("orchestration", measure(number, rounds, workers), save)


if __name__ == "__main__":
    program.run(run)
