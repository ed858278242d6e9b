"""A toy task, one folder copied into the package, runs from images to a prediction."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
IGNORED = shutil.ignore_patterns("__pycache__", ".venv")
PACKAGES = ("medtune", "flows", "stages", "models")
PARAMS = """
task: {kind: toy}
data: {image_size: 64, patients: 20, images_per_patient: 6}
model: {weights: none, backbone_args: {img_size: 64}, head: {kind: linear}}
frozen: {epochs: 12, lr: 1.0e-2, views: 4, select_by: mae, ema: null}
finetune: {epochs: 6, lr: 1.0e-3, select_by: mae, ema: null, augment: {rotate: 20}}
evaluate: {bootstrap: 200}
export: {precisions: [fp32], parity_images: 16}
gate: {metric: mae}
tracking: {mode: disabled}
"""


@pytest.mark.slow
def test_toy_task__runs_through_every_stage(tmp_path):
    for name in PACKAGES:
        shutil.copytree(PROJECT / name, tmp_path / name, symlinks=True, ignore=IGNORED)
    shutil.copytree(PROJECT / "tests" / "toy_task", tmp_path / "medtune" / "tasks" / "toy", ignore=IGNORED)
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    (tmp_path / "toy.yaml").write_text(PARAMS)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "MEDTUNE_DEVICE": "cpu", "MEDTUNE_CACHE": ""}

    def medtune(*words: str) -> str:
        command = [sys.executable, "-m", "medtune", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    medtune("data", "--params", "toy.yaml")
    targets = np.load(tmp_path / "data" / "prepared" / "targets.npy")
    assert targets.shape == (120, 64, 64)
    medtune("train", "--no-prefect", "--params", "toy.yaml")

    artifacts = tmp_path / "artifacts"
    with (artifacts / "finetune" / "fold-1" / "history.csv").open() as stream:
        losses = [float(row["train/loss"]) for row in csv.DictReader(stream) if row["train/loss"]]
    assert losses[-1] < losses[0]
    metrics = json.loads((artifacts / "evaluate" / "metrics.json").read_text())
    error = metrics["test"]["mae"]
    assert error["value"] < 0.7 * metrics["baseline"]
    assert error["lo"] <= error["value"] <= error["hi"]

    document = json.loads((artifacts / "export" / "bundle.json").read_text())
    assert document["parity"]["fp32"]["max_abs_diff"] < 1e-4
    assert document["parity"]["fp32"]["consumer"]["max_abs_diff"] < 1e-4
    assert "share of dark pixels" in (artifacts / "export" / "MODEL_CARD.md").read_text()

    samples = sorted((tmp_path / "data" / "prepared" / "samples").iterdir())
    printed = medtune("predict", "artifacts/export", *map(str, samples))
    rows = list(csv.DictReader(printed.splitlines()))
    assert len(rows) == len(samples)
    assert list(rows[0]) == ["path", "density"]
    assert all(0 < float(row["density"]) < 1 for row in rows)
