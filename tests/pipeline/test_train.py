"""Tests of the complete pipeline in a copy of the checkout; each test continues after the previous test."""

import csv
import json
import os
import re
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medtune.tracking.metrics import NOT_IN_SUMMARY
from tests.tracking.recorded_runs import merge_parts, read_runs

if TYPE_CHECKING:
    from medtune.tracking.read import RecordedRun
    from tests.pipeline.conftest import Checkout, Trained

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("pipeline")]

STEPS = [f"{stage} fold {fold}" for fold in range(3) for stage in ("frozen", "finetune")] + ["evaluate", "export"]


def states(printed: str) -> dict[str, str]:
    """Return the state (`cached` or `running`) of every step in the log."""
    return dict(re.findall(r"^(.+): (cached|running) \(key \w{6}\)$", printed, re.MULTILINE))


def modification_times(checkout: "Checkout") -> dict[str, int]:
    files = [path for path in (checkout.folder / "artifacts").rglob("*") if path.is_file()]
    return {str(path): path.stat().st_mtime_ns for path in files}


def recorded(checkout: "Checkout", stage: str) -> "RecordedRun":
    """Read the run of a stage from its file; for a training stage, the run of fold 1."""
    names = {f"{stage} fold 1", stage}
    (run,) = [run for run in read_runs(checkout.folder / ".cache") if run.job_type == stage and run.name in names]
    return run


def kill_at(checkout: "Checkout", line: str, *arguments: str) -> str:
    """Kill a run with SIGKILL when it prints `line`, and return its output until then."""
    process = checkout.start(["python", "-m", "medtune", "train", "--no-prefect", *arguments])
    assert process.stdout is not None
    printed = ""
    for printed_line in process.stdout:
        printed += printed_line
        if printed_line.startswith(line):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL, printed
    return printed


@pytest.fixture(scope="module")
def checkout(trained: "Trained") -> "Checkout":
    """Return the trained checkout itself, because the records of Prefect contain its folder."""
    return trained.checkout


def test_repro__first_run_computes_everything(trained: "Trained", checkout: "Checkout") -> None:
    printed = trained.printed
    assert states(printed) == dict.fromkeys(STEPS, "running")
    assert "Traceback" not in printed
    assert "ERROR" not in printed
    assert "leaked" not in printed  # by nanobind, at the end of the process
    assert "W&B" not in printed
    artifacts = checkout.folder / "artifacts"
    metrics = json.loads((artifacts / "evaluate" / "metrics.json").read_text())
    assert metrics["test"]["balanced_accuracy"]["lo"] <= metrics["test"]["balanced_accuracy"]["value"]
    assert (artifacts / "export" / "model.onnx").is_file()
    assert (checkout.folder / "dvc.lock").is_file()


def test_repro__second_run_computes_nothing(checkout: "Checkout") -> None:
    before = modification_times(checkout)
    printed = checkout.run("dvc", "repro")
    assert "Data and pipelines are up to date" in printed
    assert states(printed) == {}
    assert modification_times(checkout) == before


def test_dvc__shows_metrics_and_plots(checkout: "Checkout") -> None:
    assert "balanced_accuracy" in checkout.run("dvc", "metrics", "show", "--json")
    page = checkout.run("dvc", "plots", "show").strip()
    html = Path(page.removeprefix("file://")).read_text()
    for text in ('"title": "epoch"', '"title": "predicted"', '"title": "fpr"', '"title": "confidence"', "_roc.png"):
        assert text in html


def test_no_prefect__reuses_steps_of_prefect_without_torch(checkout: "Checkout") -> None:
    before = modification_times(checkout)
    printed = checkout.run("python", "-X", "importtime", "-m", "medtune", "train", "--no-prefect")
    assert states(printed) == dict.fromkeys(STEPS, "cached")
    imported = set(re.findall(r"\| +(\w+)$", printed, re.MULTILINE))
    assert "numpy" in imported
    assert not {"torch", "prefect", "wandb"} & imported
    assert modification_times(checkout) == before


def test_prefect__second_run_is_cached_and_recorded(checkout: "Checkout") -> None:
    printed = checkout.train()
    assert states(printed) == dict.fromkeys(STEPS, "cached")
    assert "ERROR" not in printed
    with sqlite3.connect(checkout.folder / ".cache" / "prefect" / "prefect.db") as database:
        runs = database.execute("select name, state_name from task_run order by created").fetchall()
        flows = database.execute("select state_name from flow_run").fetchall()
        artifacts = {key for (key,) in database.execute("select key from artifact where key is not null")}
    first = [*((name, "Completed") for name in STEPS), ("report", "Completed")]
    assert runs == [*first, *((name, "Cached") for name in STEPS), ("report", "Completed")]
    assert flows == [("Completed",), ("Completed",)]
    assert {"test-metrics", "folds", "steps", "report", "model-card"} <= artifacts


def test_prefect__unreachable_server_does_not_stop_the_run(checkout: "Checkout") -> None:
    printed = checkout.train(PREFECT_API_URL="http://127.0.0.1:9/api")
    assert "continuing without it" in printed
    assert states(printed) == dict.fromkeys(STEPS, "cached")


def test_wandb__one_run_per_stage_in_one_group(checkout: "Checkout") -> None:
    runs = read_runs(checkout.folder / ".cache")
    assert {run.job_type for run in runs} == {"frozen", "finetune", "evaluate", "export", "train"}
    assert len({run.group for run in runs}) == 1
    assert all(run.exit_code == 0 for run in runs)
    assert sorted(run.name for run in runs if run.job_type == "frozen") == [f"frozen fold {k}" for k in range(3)]
    stage = next(run for run in runs if run.job_type == "frozen")
    assert stage.config["key"].startswith(stage.run_id)
    assert any("train/loss" in point for point in stage.history)


def test_wandb__summary_has_all_metrics_of_metrics_json(checkout: "Checkout") -> None:
    summary = recorded(checkout, "evaluate").summary
    metrics = json.loads((checkout.folder / "artifacts" / "evaluate" / "metrics.json").read_text())
    for name, interval in metrics["test"].items():
        assert summary[f"test/{name}"] == interval["value"], name
        assert (summary[f"test/{name}_lo"], summary[f"test/{name}_hi"]) == (interval["lo"], interval["hi"]), name
    for name, value in metrics["validation"].items():
        assert summary[f"val/{name}"] == value, name
    for row in metrics["per_class"]:
        for name in {name for name in row if not name.endswith(NOT_IN_SUMMARY)}:
            assert summary[f"class/{row['class']}/{name}"] == row[name], name
    (fold,) = metrics["folds"]
    for split, prefix in (("test", "test"), ("validation", "val")):
        for name, value in fold[split].items():
            assert summary[f"fold_1/{prefix}/{name}"] == value, name
    assert summary["fold_1/temperature"] == fold["temperature"]
    for name in ("n_images", "n_patients", "protocol", "stage"):
        assert summary[name] == metrics[name], name
    cross_validation = metrics["cross_validation"]
    assert (metrics["n_patients"], cross_validation["n_patients"]) == (7, 20)
    assert summary["cross_validation/auroc"] == cross_validation["metrics"]["auroc"]["value"]
    plots = {name for name, value in summary.items() if isinstance(value, dict) and value.get("_type") == "image-file"}
    assert plots == {
        f"test/{name}" for name in ("confusion", "roc", "precision_recall", "reliability", "decision_curve", "history")
    }


@pytest.mark.parametrize("stage", ["frozen", "finetune"])
def test_wandb__history_has_every_step(stage: str, checkout: "Checkout") -> None:
    run = recorded(checkout, stage)
    with (checkout.folder / "artifacts" / stage / "fold-1" / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    epochs = [point for point in run.history if f"{stage}/epoch" in point]
    assert [point["_step"] for point in epochs] == [int(row["step"]) for row in rows]
    for row, point in zip(rows, epochs, strict=True):
        for name, cell in row.items():
            assert point.get(name) == (float(cell) if cell else None), name
    steps = [point["_step"] for point in run.history]
    assert steps == sorted({*(int(row["step"]) for row in rows), *range(20, steps[-1] + 1, 20)})


def test_wandb__lineage_from_data_to_bundle(checkout: "Checkout") -> None:
    runs = {stage: recorded(checkout, stage) for stage in ("frozen", "finetune", "evaluate", "export")}
    logged_artifacts = {stage: run.made for stage, run in runs.items()}
    assert [(version.type, version.name) for stage in runs for version in logged_artifacts[stage]] == [
        ("model", "frozen-fold-1"), ("model", "finetune-fold-1"), ("bundle", "medtune-bundle")
    ]  # fmt: skip
    data = runs["frozen"].used[0]
    assert data.type == "dataset"
    (first,), (second,), (bundle,) = (
        logged_artifacts["frozen"],
        logged_artifacts["finetune"],
        logged_artifacts["export"],
    )
    assert runs["frozen"].used == [data]
    assert [version.digest for version in runs["finetune"].used] == [data.digest, first.digest]
    for stage in ("evaluate", "export"):
        digests = [version.digest for version in runs[stage].used]
        assert (len(digests), digests[0], digests[2]) == (4, data.digest, second.digest)  # the data and three networks
    document = json.loads((checkout.folder / "artifacts" / "export" / "bundle.json").read_text())
    assert document["data_digest"] == data.metadata["digest"]
    assert document["members"][1]["source_sha256"] == second.metadata["sha256"]
    assert bundle.metadata["files"].keys() >= document["files"].keys()


def test_wandb__patient_ids_and_paths_are_not_recorded(checkout: "Checkout") -> None:
    folders = list((checkout.folder / ".cache" / "wandb").glob("offline-run-*"))
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and "logs" not in path.parts]
    content = b"".join(path.read_bytes() for path in files)
    with (checkout.folder / "data" / "prepared" / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert b"medtune:dataset/" in content
    secrets = {str(checkout.folder), str(checkout.folder.parent), sys.prefix}
    secrets |= {row["patient"] for row in rows} | {row["path"] for row in rows} | {row["sha256"] for row in rows}
    assert [secret for secret in secrets if secret.encode() in content] == []


def test_changed_evaluate_params__do_not_repeat_training(checkout: "Checkout") -> None:
    printed = kill_at(checkout, "evaluate: running", "--set", "evaluate.reliability_bins=14")
    assert states(printed) == dict(zip(STEPS, ["cached"] * 6 + ["running"], strict=False))


def test_flipped_byte__repeats_the_stage_and_a_killed_run_is_continued(checkout: "Checkout") -> None:
    artifacts = checkout.folder / "artifacts"
    for stage in ("frozen", "finetune"):
        weights = artifacts / stage / "fold-1" / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)
    printed = kill_at(checkout, "finetune fold 1: running")
    expected = dict(zip(STEPS, ("cached", "cached", "running", "running"), strict=False))
    assert states(printed) == expected

    printed = checkout.train("--no-prefect")
    # Training is reproducible bit for bit, so later steps are reused.
    assert states(printed) == dict(zip(STEPS, ["cached"] * 3 + ["running"] + ["cached"] * 4, strict=True))
    assert "done: 1 of 8 steps ran" in printed
    temporary = [path for path in artifacts.rglob(".*") if path.name != ".lock"]
    assert temporary == []
    for run in merge_parts(read_runs(checkout.folder / ".cache")).values():
        if run.job_type in ("frozen", "finetune"):  # trained twice and killed once: one run with every step once
            steps = [point["_step"] for point in run.history]
            assert steps == sorted(set(steps))
            assert len(run.made) == 1


def test_failed_stage__exits_with_1_one_line_and_a_log(checkout: "Checkout") -> None:
    # The limit of 500 KB per file makes the checkpoint fail like a full disk.
    train = "ulimit -f 500; exec python -m medtune train --no-prefect --set finetune.epochs=3"
    process = checkout.start(["bash", "-c", train])
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 1, printed
    assert "Traceback" not in printed
    (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: finetune fold 0 failed: ")
    (log,) = re.findall(r"traceback is in (\S+\.log)", error)
    assert "Traceback" in Path(log).read_text()
    assert (checkout.folder / "artifacts" / "export" / "model.onnx").is_file()  # earlier results are not deleted
