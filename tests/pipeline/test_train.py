"""The complete pipeline in one copy of the checkout; each test continues where the previous one ended."""

import csv
import json
import os
import re
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medtune.tracking.metrics import NOT_IN_SUMMARY
from medtune.tracking.read import merge_parts, read_runs

if TYPE_CHECKING:
    from medtune.tracking.read import RecordedRun
    from tests.pipeline.conftest import Checkout, Trained

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("pipeline")]

STEPS = [f"{stage} fold {fold}" for fold in range(3) for stage in ("frozen", "finetune")] + ["evaluate", "export"]


def states(printed: str) -> dict[str, str]:
    """Each step's name with `cached` or `running`, as the log said."""
    return dict(re.findall(r"^(.+): (cached|running) \(key \w{6}\)$", printed, re.MULTILINE))


def written(checkout: "Checkout") -> dict[str, int]:
    files = [path for path in (checkout.folder / "artifacts").rglob("*") if path.is_file()]
    return {str(path): path.stat().st_mtime_ns for path in files}


def recorded(checkout: "Checkout", stage: str) -> "RecordedRun":
    """The one run of a stage, of a training stage that for fold 1, read back from its file."""
    named = {f"{stage} fold 1", stage}
    (run,) = [run for run in read_runs(checkout.folder / ".cache") if run.job_type == stage and run.name in named]
    return run


def killed_at(checkout: "Checkout", line: str, *words: str) -> str:
    """What a run printed until it was killed with SIGKILL, at `line`."""
    process = checkout.start(["python", "-m", "medtune", "train", "--no-prefect", *words])
    assert process.stdout is not None
    printed = ""
    for said in process.stdout:
        printed += said
        if said.startswith(line):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL, printed
    return printed


@pytest.fixture(scope="module")
def checkout(trained: "Trained") -> "Checkout":
    """The trained checkout itself: only its own folder is on Prefect's record."""
    return trained.checkout


def test_repro__first_time_computes_everything(trained: "Trained", checkout: "Checkout") -> None:
    printed = trained.printed
    assert states(printed) == dict.fromkeys(STEPS, "running")
    assert "Traceback" not in printed
    assert "ERROR" not in printed
    assert "W&B" not in printed
    artifacts = checkout.folder / "artifacts"
    metrics = json.loads((artifacts / "evaluate" / "metrics.json").read_text())
    assert metrics["test"]["balanced_accuracy"]["lo"] <= metrics["test"]["balanced_accuracy"]["value"]
    assert (artifacts / "export" / "model.onnx").is_file()
    assert (checkout.folder / "dvc.lock").is_file()


def test_repro__second_time_runs_nothing(checkout: "Checkout") -> None:
    before = written(checkout)
    began = time.monotonic()
    printed = checkout.run("dvc", "repro")
    assert "Data and pipelines are up to date" in printed
    assert states(printed) == {}
    assert time.monotonic() - began < 10  # 1 to 2 s on a quiet machine
    assert written(checkout) == before


def test_metrics_and_plots__dvc_shows_them(checkout: "Checkout") -> None:
    assert "balanced_accuracy" in checkout.run("dvc", "metrics", "show", "--json")
    page = checkout.run("dvc", "plots", "show").strip()
    html = Path(page.removeprefix("file://")).read_text()
    for shown in ('"title": "epoch"', '"title": "predicted"', '"title": "fpr"', '"title": "confidence"', "_roc.png"):
        assert shown in html


def test_no_prefect__finds_what_prefect_made_and_needs_no_torch(checkout: "Checkout") -> None:
    before = written(checkout)
    printed = checkout.run("python", "-X", "importtime", "-m", "medtune", "train", "--no-prefect")
    assert states(printed) == dict.fromkeys(STEPS, "cached")
    imported = set(re.findall(r"\| +(\w+)$", printed, re.MULTILINE))
    assert "numpy" in imported
    assert not {"torch", "prefect", "wandb"} & imported
    assert written(checkout) == before


def test_prefect__second_time_is_cached_and_on_its_record(checkout: "Checkout") -> None:
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


def test_prefect__server_that_is_down_does_not_stop_it(checkout: "Checkout") -> None:
    printed = checkout.train(PREFECT_API_URL="http://127.0.0.1:9/api")
    assert "continuing without it" in printed
    assert states(printed) == dict.fromkeys(STEPS, "cached")


def test_wandb__one_run_a_stage_in_one_group(checkout: "Checkout") -> None:
    runs = read_runs(checkout.folder / ".cache")
    assert {run.job_type for run in runs} == {"frozen", "finetune", "evaluate", "export", "train"}
    assert len({run.group for run in runs}) == 1
    assert all(run.exit_code == 0 for run in runs)
    assert sorted(run.name for run in runs if run.job_type == "frozen") == [f"frozen fold {k}" for k in range(3)]
    stage = next(run for run in runs if run.job_type == "frozen")
    assert stage.config["key"].startswith(stage.run_id)
    assert any("train/loss" in point for point in stage.history)


def test_wandb__every_figure_of_metrics_json_is_in_the_summary(checkout: "Checkout") -> None:
    summary = recorded(checkout, "evaluate").summary
    metrics = json.loads((checkout.folder / "artifacts" / "evaluate" / "metrics.json").read_text())
    for name, one in metrics["test"].items():
        assert summary[f"test/{name}"] == one["value"], name
        assert (summary[f"test/{name}_lo"], summary[f"test/{name}_hi"]) == (one["lo"], one["hi"]), name
    for name, value in metrics["validation"].items():
        assert summary[f"val/{name}"] == value, name
    for row in metrics["per_class"]:
        for name in {name for name in row if not name.endswith(NOT_IN_SUMMARY)}:
            assert summary[f"class/{row['class']}/{name}"] == row[name], name
    (fold,) = metrics["folds"]
    for part, called in (("test", "test"), ("validation", "val")):
        for name, value in fold[part].items():
            assert summary[f"fold_1/{called}/{name}"] == value, name
    assert summary["fold_1/temperature"] == fold["temperature"]
    for name in ("n_images", "n_patients", "protocol", "stage"):
        assert summary[name] == metrics[name], name
    whole = metrics["cross_validation"]
    assert (metrics["n_patients"], whole["n_patients"]) == (7, 20)
    assert summary["cross_validation/auroc"] == whole["metrics"]["auroc"]["value"]
    drawn = {name for name, value in summary.items() if isinstance(value, dict) and value.get("_type") == "image-file"}
    assert drawn == {
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
    made = {stage: run.made for stage, run in runs.items()}
    assert [(version.type, version.name) for stage in runs for version in made[stage]] == [
        ("model", "frozen-fold-1"), ("model", "finetune-fold-1"), ("bundle", "medtune-bundle")
    ]  # fmt: skip
    data = runs["frozen"].used[0]
    assert data.type == "dataset"
    (first,), (second,), (bundle,) = made["frozen"], made["finetune"], made["export"]
    assert runs["frozen"].used == [data]
    assert [version.digest for version in runs["finetune"].used] == [data.digest, first.digest]
    for stage in ("evaluate", "export"):
        digests = [version.digest for version in runs[stage].used]
        assert (len(digests), digests[0], digests[2]) == (4, data.digest, second.digest)  # the data and three networks
    document = json.loads((checkout.folder / "artifacts" / "export" / "bundle.json").read_text())
    assert document["data_digest"] == data.metadata["digest"]
    assert document["members"][1]["source_sha256"] == second.metadata["sha256"]
    assert bundle.metadata["files"].keys() >= document["files"].keys()


def test_wandb__no_patient_and_no_path_is_recorded(checkout: "Checkout") -> None:
    folders = list((checkout.folder / ".cache" / "wandb").glob("offline-run-*"))
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and "logs" not in path.parts]
    everything = b"".join(path.read_bytes() for path in files)
    with (checkout.folder / "data" / "prepared" / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert b"medtune:dataset/" in everything
    secrets = {str(checkout.folder), str(checkout.folder.parent), sys.prefix}
    secrets |= {row["patient"] for row in rows} | {row["path"] for row in rows} | {row["sha256"] for row in rows}
    assert [secret for secret in secrets if secret.encode() in everything] == []


def test_change__of_evaluate_alone_trains_nothing(checkout: "Checkout") -> None:
    printed = killed_at(checkout, "evaluate: running", "--set", "evaluate.reliability_bins=14")
    assert states(printed) == dict(zip(STEPS, ["cached"] * 6 + ["running"], strict=False))


def test_flipped_byte__runs_that_stage_again_and_a_kill_is_made_good(checkout: "Checkout") -> None:
    artifacts = checkout.folder / "artifacts"
    for stage in ("frozen", "finetune"):
        weights = artifacts / stage / "fold-1" / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)
    printed = killed_at(checkout, "finetune fold 1: running")
    expected = dict(zip(STEPS, ("cached", "cached", "running", "running"), strict=False))
    assert states(printed) == expected

    printed = checkout.train("--no-prefect")
    # The same weights come out again, bit for bit: what was made of them still holds.
    assert states(printed) == dict(zip(STEPS, ["cached"] * 3 + ["running"] + ["cached"] * 4, strict=True))
    assert "done: 1 of 8 steps ran" in printed
    stray = [path for path in artifacts.rglob(".*") if path.name != ".lock"]
    assert stray == []
    for run in merge_parts(read_runs(checkout.folder / ".cache")).values():
        if run.job_type in ("frozen", "finetune"):  # trained twice, once killed: one run each, every step once
            steps = [point["_step"] for point in run.history]
            assert steps == sorted(set(steps))
            assert len(run.made) == 1


def test_stage_that_fails__is_exit_1_with_one_line_and_a_log(checkout: "Checkout") -> None:
    # No file may have more than 500 KB, as on a full disk: a checkpoint has more.
    train = "ulimit -f 500; exec python -m medtune train --no-prefect --set finetune.epochs=3"
    process = checkout.start(["bash", "-c", train])
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 1, printed
    assert "Traceback" not in printed
    (said,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert said.startswith("error: finetune fold 0 failed: ")
    (log,) = re.findall(r"traceback in (\S+\.log)", said)
    assert "Traceback" in Path(log).read_text()
    assert (checkout.folder / "artifacts" / "export" / "model.onnx").is_file()  # what was finished is still there
