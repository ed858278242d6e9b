"""Tests of the benchmark with DVC on local workers, and on a Dask cluster that loses one of two workers."""

import csv
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medtune.benchmark.report.results import COST_COLUMNS
from tests.pipeline.dask_cluster import dask_cluster

if TYPE_CHECKING:
    from tests.pipeline.conftest import Checkout

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("benchmark")]

GRID = """
benchmark:
  data:
    drawn: {source: synthetic, image_size: 32, labels: binary, patients: 20, images_per_patient: 2,
            split: {folds: 3, test_fold: 1}}
  backbones: {test_vit: {}}
  methods: [linear, cdtm+bitfit]
  train_percent: [25, 100]
  lr: {cdtm+bitfit: [1.0e-3]}
  min_steps: 8
  runner: {kind: local, workers: 2}
frozen: {epochs: 2, feature_views: 1}
finetune: {epochs: 2}
"""
COUNT = re.compile(r"benchmark: (\d+) trials, (\d+) already finished, (\d+) to run")


def trial_counts(printed: str) -> tuple[int, ...]:
    """Return the numbers of all trials, stored trials and trials to compute."""
    match = COUNT.search(printed)
    assert match is not None, printed
    return tuple(int(number) for number in match.groups())


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of results.csv without the columns that differ between runs."""
    with (folder / "artifacts" / "benchmark" / "results.csv").open(newline="") as stream:
        return [
            {name: text for name, text in row.items() if name not in COST_COLUMNS} for row in csv.DictReader(stream)
        ]


def trials(folder: Path) -> Path:
    """Return the folder with the records of all trials."""
    return folder / "artifacts" / "benchmark" / "trials"


def records(folder: Path) -> dict[str, int]:
    """Return the modification time of the record of every trial."""
    return {path.parent.name: path.stat().st_mtime_ns for path in trials(folder).glob("[!.]*/result.json")}


@pytest.fixture(scope="module")
def benchmark_checkout(trained_copy: "Checkout") -> "Checkout":
    checkout = trained_copy  # it has a Prefect database already
    (checkout.folder / "benchmark.yaml").write_text(GRID)
    stage = checkout.folder / "benchmarks" / "stage.yaml"
    shutil.copy(stage, stage.with_name("dvc.yaml"))  # as `make benchmark` does
    return checkout


def test_dvc__first_run_computes_every_trial(benchmark_checkout: "Checkout") -> None:
    printed = benchmark_checkout.run("dvc", "repro", "benchmarks/dvc.yaml")
    assert trial_counts(printed) == (4, 0, 4)
    assert "continuing without it" not in printed
    assert "Traceback" not in printed
    results = rows(benchmark_checkout.folder)
    assert [row["status"] for row in results] == ["done"] * 4
    assert len({(row["method"], row["percent"]) for row in results}) == 4
    assert (benchmark_checkout.folder / "artifacts" / "benchmark" / "report.html").stat().st_size > 10_000


def test_dvc__second_run_computes_nothing(benchmark_checkout: "Checkout") -> None:
    before = records(benchmark_checkout.folder)
    assert "up to date" in benchmark_checkout.run("dvc", "repro", "benchmarks/dvc.yaml")
    assert records(benchmark_checkout.folder) == before


def test_repro__does_not_include_the_benchmark(benchmark_checkout: "Checkout") -> None:
    assert benchmark_checkout.run("dvc", "stage", "list", "--name-only").split() == ["data", "train"]


@pytest.fixture
def cluster(benchmark_checkout: "Checkout", tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """Start a scheduler and two workers."""
    with dask_cluster(benchmark_checkout, tmp_path) as running:
        yield running


def test_dask__killed_worker_loses_no_trial_and_only_deleted_trials_are_repeated(
    benchmark_checkout: "Checkout", cluster: tuple[str, list["subprocess.Popen[bytes]"]]
) -> None:
    before, results = records(benchmark_checkout.folder), rows(benchmark_checkout.folder)
    deleted = {name for name in before if "-linear-" not in name}
    assert len(deleted) == 2
    for name in deleted:
        shutil.rmtree(trials(benchmark_checkout.folder) / name)
    address, (worker, _) = cluster
    runner = f"benchmark.runner={{kind: dask, address: '{address}'}}"
    process = benchmark_checkout.start(["python", "-m", "medtune", "benchmark", "--set", runner])
    while len(records(benchmark_checkout.folder)) == 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    assert "continuing without it" not in printed
    assert trial_counts(printed) == (4, 2, 2)
    after = records(benchmark_checkout.folder)
    assert {name for name in after if after[name] != before[name]} == deleted
    assert after.keys() == before.keys()
    assert rows(benchmark_checkout.folder) == results


def test_dvc__changed_record_repeats_the_benchmark_stage(benchmark_checkout: "Checkout") -> None:
    before = records(benchmark_checkout.folder)
    assert trial_counts(benchmark_checkout.run("dvc", "repro", "benchmarks/dvc.yaml")) == (4, 4, 0)
    assert records(benchmark_checkout.folder) == before
