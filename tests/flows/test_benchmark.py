"""Tests of the benchmark command: computed trials, outputs, messages and exit codes."""

import csv
import json
import re
import shutil

import pytest

from medtune.benchmark import jobs
from medtune.benchmark.grid import load_grid
from medtune.config.errors import InputError
from medtune.flows.benchmark import benchmark
from medtune.runtime.paths import RunPaths

GRID = """
benchmark:
  data: {drawn: {source: synthetic, image_size: 32, labels: binary, patients: 20, images_per_patient: 2}}
  backbones: {test_vit: {weights: none, backbone_args: {img_size: 32, depth: 2}}}
  methods: [linear, bitfit]
  train_percent: [50, 100]
  lr: {linear: [0.01], bitfit: [0.01]}
  min_steps: 4
frozen: {epochs: 1, feature_views: 1}
finetune: {epochs: 1}
tracking: {mode: disabled}
"""


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command on a small grid and returns output, results.csv and exit code."""
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "grid.yaml").write_text(GRID)

    def run(*sets, **options):
        status = 0
        try:
            benchmark(tmp_path / "grid.yaml", list(sets), tmp_path, **{"prefect": False, **options})
        except SystemExit as exit_error:
            status = exit_error.code
        printed = capsys.readouterr()
        with (tmp_path / "artifacts" / "benchmark" / "results.csv").open() as stream:
            return printed.out + printed.err, list(csv.DictReader(stream)), status

    run.folder = tmp_path / "artifacts" / "benchmark"
    return run


def statuses(rows):
    return {(row["method"], row["percent"]): row["status"] for row in rows}


@pytest.mark.slow
def test_benchmark__computes_only_missing_trials(compare):
    printed, rows, _ = compare(max_trials=1)
    assert "4 trials, 0 already finished, 1 to run" in printed
    assert "3 of 4 trials pending" in printed
    assert [row["status"] for row in rows] == ["done", "pending", "pending", "pending"]

    printed, rows, _ = compare(only=["method=bitfit"])
    assert "4 trials, 1 already finished, 2 to run" in printed
    assert statuses(rows)["linear", "100"] == "pending"

    printed, rows, status = compare()
    assert "4 trials, 3 already finished, 1 to run" in printed
    assert {row["status"] for row in rows} == {"done"}
    assert status == 0

    shutil.rmtree(compare.folder / "trials" / "drawn-test_vit-bitfit-50pc-seed1")
    printed, repeated_rows, _ = compare()
    assert "4 trials, 3 already finished, 1 to run" in printed
    assert [row["accuracy"] for row in repeated_rows] == [row["accuracy"] for row in rows]
    assert "0 to run" in compare()[0]
    assert "2 already finished, 2 to run" in compare(only=["percent=100"], resume=False)[0]


@pytest.mark.slow
def test_benchmark__missing_scheduler_is_an_error(compare):
    runner = "benchmark.runner={kind: dask, address: 'tcp://127.0.0.1:9'}"
    with pytest.raises(InputError, match=r"runner\.address=tcp://127\.0\.0\.1:9: no Dask scheduler answers"):
        compare(runner, prefect=True)
    assert not list(compare.folder.glob("trials/*"))


@pytest.mark.slow
def test_benchmark__failed_trial_is_retried_and_reported(compare):
    printed, rows, status = compare(
        "benchmark.lr.bitfit=[1.0e+38]", "finetune.ema_decay=null", "finetune.clip_norm=null"
    )
    assert status == 1
    assert statuses(rows) == {
        ("linear", "50"): "done",
        ("linear", "100"): "done",
        ("bitfit", "50"): "failed",
        ("bitfit", "100"): "failed",
    }
    assert "error: drawn test_vit bitfit 50 % seed 1 failed: DivergedError: " in printed
    assert "the loss is" in next(row["error"] for row in rows if row["method"] == "bitfit")
    assert "bitfit" in (compare.folder / "report.html").read_text()


def test_trials__all_selects_the_supported_methods():
    grid, tree = load_grid(sets=["benchmark.train_percent=[100]"])
    methods = [trial.method for trial in jobs.list_trials(grid, tree)]
    assert {"linear", "cdtm", "full", "lora", "vpt", "cdtm+lora"} <= set(methods)
    assert "tsa" not in methods


def test_trials__method_without_a_supported_backbone_is_rejected():
    grid, tree = load_grid(sets=["benchmark.methods=[linear, tsa]"])
    with pytest.raises(
        InputError,
        match=r"benchmark\.methods=tsa: .* not support test_vit\. It supports only mobilenet and resnet",
    ):
        jobs.list_trials(grid, tree)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("backbones={test_vitt: {weights: none}}", "benchmark.backbones.test_vitt: not a timm model"),
        ("backbones={x: {backbone: test_vitt, weights: none}}", "benchmark.backbones.x.backbone=test_vitt: not a timm"),
        ("backbones={test_vit: {wieghts: none}}", "benchmark.backbones.test_vit.wieghts: unknown key"),
        ("data={x: {source: nonesuch}}", "benchmark.data.x.source=nonesuch: unknown"),
    ],
)
def test_trials__error_names_the_key_of_the_grid(assignment, message):
    grid, tree = load_grid(sets=[f"benchmark.{assignment}", "benchmark.methods=[linear]"])
    with pytest.raises(InputError, match=re.escape(message)):
        jobs.list_trials(grid, tree)


def test_check__error_names_the_key_of_the_grid():
    grid, tree = load_grid(sets=["benchmark.backbones={x: {backbone: test_vit, weights: no.pth}}"])
    with pytest.raises(InputError, match=r"^benchmark\.backbones\.x\.weights=no\.pth"):
        jobs.check(grid, jobs.list_trials(grid, tree))


def test_trials__params_match_the_method():
    grid, tree = load_grid(sets=["benchmark.methods=[linear, cdtm+lora]", "benchmark.train_percent=[25]"])
    linear, crossed = jobs.list_trials(grid, tree).values()
    assert (linear.schedule, linear.model.head.kind) == ("frozen", "linear")
    assert (crossed.schedule, crossed.model.head.kind, crossed.model.peft.method) == ("staged", "cdtm", "lora")
    assert json.dumps(linear.model_dump(mode="json"))


@pytest.mark.slow
def test_jobs__small_train_fraction_is_repeated_for_the_minimum_steps(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "grid.yaml").write_text(GRID)
    grid, tree = load_grid(tmp_path / "grid.yaml", ["finetune.batch_size=4", "finetune.epochs=2"])
    trial_jobs = jobs.build_jobs(grid, jobs.list_trials(grid, tree), RunPaths.from_env(tmp_path))
    images = {50: 12, 100: 24}  # 12 training patients of two images

    def passes_of(job: jobs.TrialJob) -> int:
        return job.params.finetune.repeats_for(images[job.trial.percent])

    passes = {(job.trial.method, job.trial.percent): passes_of(job) for job in trial_jobs}
    # 24 images are 6 steps per epoch, 12 images are 3 steps, and at least 4 steps are required.
    assert passes == {("linear", 50): 1, ("linear", 100): 1, ("bitfit", 50): 1, ("bitfit", 100): 1}
    more_steps = grid.model_copy(update={"min_steps": 30})
    trial_jobs = jobs.build_jobs(more_steps, jobs.list_trials(grid, tree), RunPaths.from_env(tmp_path))
    assert {job.trial.percent: passes_of(job) for job in trial_jobs} == {50: 5, 100: 3}
