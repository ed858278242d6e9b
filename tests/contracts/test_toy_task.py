"""CONTRIBUTING's walk to a task: the toy task, one folder, runs from images to a prediction."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
IGNORED = shutil.ignore_patterns(".venv")


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """A copy of the package in which the walk's commands ran, and what the last one printed."""
    folder = tmp_path_factory.mktemp("toy")
    for name in ("medtune", "flows", "stages", "models", "tests/toy_task"):
        shutil.copytree(PROJECT / name, folder / name, symlinks=True, ignore=IGNORED)
    shutil.copy(PROJECT / "params.yaml", folder)
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = re.search(r"## Add a task.*?```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    environment = {**os.environ, "PYTHONPATH": str(folder), "MEDTUNE_DEVICE": "cpu", "MEDTUNE_CACHE": ""}
    printed = ""
    for line in block[1].splitlines():
        command = line.replace("medtune ", f"{shlex.quote(sys.executable)} -m medtune ", 1 if line[0] == "m" else 0)
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        printed = done.stdout
    return folder, printed


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__stores_its_targets_and_learns(walked):
    folder, _ = walked
    assert np.load(folder / "data" / "prepared" / "targets.npy").shape == (120, 64, 64)
    with (folder / "artifacts" / "finetune" / "fold-1" / "history.csv").open() as stream:
        losses = [float(row["train/loss"]) for row in csv.DictReader(stream) if row["train/loss"]]
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__beats_a_constant(walked):
    folder, _ = walked
    metrics = json.loads((folder / "artifacts" / "evaluate" / "metrics.json").read_text())
    error = metrics["test"]["mae"]
    assert error["value"] < 0.75 * metrics["baseline"]
    assert error["lo"] <= error["value"] <= error["hi"]


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__has_subgroups(walked):
    folder, _ = walked
    (tissue,) = json.loads((folder / "artifacts" / "evaluate" / "metrics.json").read_text())["subgroups"]
    images = {one["value"]: one["n_images"] for one in tissue["subgroups"]}
    errors = {one["value"]: one["metrics"]["mae"]["value"] for one in tissue["subgroups"]}
    test = json.loads((folder / "artifacts" / "evaluate" / "metrics.json").read_text())
    assert sum(images.values()) == test["n_images"]
    mean = sum(images[name] * error for name, error in errors.items() if images[name]) / test["n_images"]
    assert test["test"]["mae"]["value"] == pytest.approx(mean)
    assert "<h2>Subgroups</h2>" in (folder / "artifacts" / "evaluate" / "report.html").read_text()
    assert "### Subgroups" in (folder / "artifacts" / "export" / "MODEL_CARD.md").read_text()


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__is_exported_within_tolerance(walked):
    folder, _ = walked
    document = json.loads((folder / "artifacts" / "export" / "bundle.json").read_text())
    assert document["task"] == {"kind": "toy"}
    assert document["parity"]["fp32"]["max_abs_diff"] < 1e-4
    assert document["parity"]["fp32"]["consumer"]["max_abs_diff"] < 1e-4
    assert "fraction of dark pixels" in (folder / "artifacts" / "export" / "MODEL_CARD.md").read_text()


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__predicts(walked):
    folder, printed = walked
    rows = list(csv.DictReader(printed.splitlines()))
    assert len(rows) == len(list((folder / "data" / "prepared" / "samples").iterdir()))
    assert list(rows[0]) == ["path", "density"]
    assert all(0 < float(row["density"]) < 1 for row in rows)
