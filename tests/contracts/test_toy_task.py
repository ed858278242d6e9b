"""Tutorial for a new task in CONTRIBUTING: the toy task runs from images to a prediction."""

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
def tutorial(tmp_path_factory):
    """Return a copy of the package after the commands of the tutorial, and the output of the last command."""
    folder = tmp_path_factory.mktemp("toy")
    for name in ("medtune", "flows", "stages", "models", "tests/toy_task"):
        shutil.copytree(PROJECT / name, folder / name, symlinks=True, ignore=IGNORED)
    shutil.copy(PROJECT / "params.yaml", folder)
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = re.search(r"## Add a task.*?```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    environment = {**os.environ, "PYTHONPATH": str(folder), "MEDTUNE_DEVICE": "cpu", "MEDTUNE_CACHE": ""}
    output = ""
    for line in block[1].splitlines():
        command = line.replace("medtune ", f"{shlex.quote(sys.executable)} -m medtune ", 1 if line[0] == "m" else 0)
        process = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, f"{line}\n{process.stdout}{process.stderr}"
        output = process.stdout
    return folder, output


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__stores_its_targets_and_learns(tutorial):
    folder, _ = tutorial
    assert np.load(folder / "data" / "prepared" / "targets.npy").shape == (120, 64, 64)
    with (folder / "artifacts" / "finetune" / "fold-1" / "history.csv").open() as stream:
        losses = [float(row["train/loss"]) for row in csv.DictReader(stream) if row["train/loss"]]
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__is_better_than_a_constant(tutorial):
    folder, _ = tutorial
    metrics = json.loads((folder / "artifacts" / "evaluate" / "metrics.json").read_text())
    error = metrics["test"]["mae"]
    assert error["value"] < 0.75 * metrics["baseline"]
    assert error["lo"] <= error["value"] <= error["hi"]


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__has_subgroups(tutorial):
    folder, _ = tutorial
    (tissue,) = json.loads((folder / "artifacts" / "evaluate" / "metrics.json").read_text())["subgroups"]
    images = {subgroup["value"]: subgroup["n_images"] for subgroup in tissue["subgroups"]}
    errors = {subgroup["value"]: subgroup["metrics"]["mae"]["value"] for subgroup in tissue["subgroups"]}
    test = json.loads((folder / "artifacts" / "evaluate" / "metrics.json").read_text())
    assert sum(images.values()) == test["n_images"]
    mean = sum(images[name] * error for name, error in errors.items() if images[name]) / test["n_images"]
    assert test["test"]["mae"]["value"] == pytest.approx(mean)
    assert "<h2>Subgroups</h2>" in (folder / "artifacts" / "evaluate" / "report.html").read_text()
    assert "### Subgroups" in (folder / "artifacts" / "export" / "MODEL_CARD.md").read_text()


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__is_exported_within_tolerance(tutorial):
    folder, _ = tutorial
    document = json.loads((folder / "artifacts" / "export" / "bundle.json").read_text())
    assert document["task"] == {"kind": "toy"}
    assert document["parity"]["fp32"]["max_abs_diff"] < 1e-4
    assert document["parity"]["fp32"]["consumer"]["max_abs_diff"] < 1e-4
    assert "fraction of dark pixels" in (folder / "artifacts" / "export" / "MODEL_CARD.md").read_text()


@pytest.mark.slow
@pytest.mark.xdist_group("toy")
def test_toy_task__predicts(tutorial):
    folder, output = tutorial
    rows = list(csv.DictReader(output.splitlines()))
    assert len(rows) == len(list((folder / "data" / "prepared" / "samples").iterdir()))
    assert list(rows[0]) == ["path", "density"]
    assert all(0 < float(row["density"]) < 1 for row in rows)
