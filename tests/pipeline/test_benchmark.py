"""The benchmark, really run: by DVC on local workers, then on a Dask cluster that loses one of its two workers."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medtune.benchmark.report.results import COST_COLUMNS

if TYPE_CHECKING:
    from tests.pipeline.conftest import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("benchmark")]

GRID = """
benchmark:
  data:
    drawn: {source: synthetic, image_size: 32, labels: binary, patients: 20, images_per_patient: 2,
            split: {folds: 3, test_fold: 1}}
  backbones: {test_vit: {}}
  methods: [linear, full, cdtm+bitfit]
  train_percent: [25, 100]
  lr: {full: [1.0e-3], cdtm+bitfit: [1.0e-3]}
  min_steps: 8
  runner: {kind: local, workers: 2}
frozen: {epochs: 2, feature_views: 1}
finetune: {epochs: 2}
"""
COUNT = re.compile(r"benchmark: (\d+) trials, (\d+) found, (\d+) to compute")


def counted(printed: str) -> tuple[int, ...]:
    """Trials of the grid, found, to compute."""
    found = COUNT.search(printed)
    assert found is not None, printed
    return tuple(int(number) for number in found.groups())


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of results.csv without the columns that differ between runs."""
    with (folder / "artifacts" / "benchmark" / "results.csv").open(newline="") as stream:
        return [
            {name: text for name, text in row.items() if name not in COST_COLUMNS} for row in csv.DictReader(stream)
        ]


def trials(folder: Path) -> Path:
    """Folder of the records of all trials."""
    return folder / "artifacts" / "benchmark" / "trials"


def records(folder: Path) -> dict[str, int]:
    """When each trial's record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in trials(folder).glob("[!.]*/result.json")}


@pytest.fixture(scope="module")
def compared(trained_copy: "Checkout") -> "Checkout":
    checkout = trained_copy  # for its Prefect database, which takes longer to create than to use
    (checkout.folder / "benchmark.yaml").write_text(GRID)
    stage = checkout.folder / "benchmarks" / "stage.yaml"
    shutil.copy(stage, stage.with_name("dvc.yaml"))  # as `make benchmark` does
    return checkout


def test_dvc__first_time_computes_every_trial(compared: "Checkout") -> None:
    printed = compared.run("dvc", "repro", "benchmarks/dvc.yaml")
    assert counted(printed) == (6, 0, 6)
    assert "continuing without it" not in printed
    assert "Traceback" not in printed
    found = rows(compared.folder)
    assert [row["status"] for row in found] == ["done"] * 6
    assert len({(row["method"], row["percent"]) for row in found}) == 6
    assert (compared.folder / "artifacts" / "benchmark" / "report.html").stat().st_size > 10_000


def test_dvc__second_time_computes_nothing(compared: "Checkout") -> None:
    before = records(compared.folder)
    assert "up to date" in compared.run("dvc", "repro", "benchmarks/dvc.yaml")
    assert records(compared.folder) == before


def test_repro__leaves_the_benchmark_alone(compared: "Checkout") -> None:
    assert compared.run("dvc", "stage", "list", "--name-only").split() == ["data", "train"]


@pytest.fixture
def cluster(compared: "Checkout", tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """A scheduler and two workers, each a process of its own, started by Dask's own command lines."""
    told = tmp_path / "scheduler.json"
    environment = {**compared.environment(), "PYTHONPATH": str(compared.folder)}
    dask = str(Path(sys.executable).parent / "dask")

    def begin(*words: str) -> "subprocess.Popen[bytes]":
        with (tmp_path / f"{words[0]}.log").open("ab") as log:
            command = [dask, *words, "--scheduler-file", str(told), "--no-dashboard"]
            return subprocess.Popen(command, cwd=compared.folder, env=environment, stdout=log, stderr=log)

    scheduler = begin("scheduler", "--port", "0", "--host", "127.0.0.1")
    while not told.is_file():
        assert scheduler.poll() is None, (tmp_path / "scheduler.log").read_text()
        time.sleep(0.1)
    workers = [begin("worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
    address = re.search(r'"address": "(tcp://[\d.:]+)"', told.read_text())
    assert address is not None
    yield address[1], workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


def test_dask__a_killed_worker_loses_no_cell_and_a_deleted_record_costs_that_cell_alone(
    compared: "Checkout", cluster: tuple[str, list["subprocess.Popen[bytes]"]]
) -> None:
    before, results = records(compared.folder), rows(compared.folder)
    deleted = {name for name in before if "-linear-" not in name}
    assert len(deleted) == 4
    for name in deleted:
        shutil.rmtree(trials(compared.folder) / name)
    address, (worker, _) = cluster
    runner = f"benchmark.runner={{kind: dask, address: '{address}'}}"
    process = compared.start(["python", "-m", "medtune", "benchmark", "--set", runner])
    while len(records(compared.folder)) == 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert "continuing without it" not in printed
    assert counted(printed) == (6, 2, 4)
    after = records(compared.folder)
    assert {name for name in after if after[name] != before[name]} == deleted
    assert after.keys() == before.keys()
    assert rows(compared.folder) == results


def test_dvc__runs_the_benchmark_again_where_a_record_changed(compared: "Checkout") -> None:
    before = records(compared.folder)
    assert counted(compared.run("dvc", "repro", "benchmarks/dvc.yaml")) == (6, 6, 0)
    assert records(compared.folder) == before
