"""Tests of stage data on real images."""

import csv
import json

import pytest

from medtune.config.load import load
from medtune.runtime.paths import RunPaths
from medtune.stages import data

pytestmark = pytest.mark.real


def read_json(artifact, name="report.json"):
    return json.loads((artifact.folder / name).read_text())


@pytest.mark.parametrize("task", ["binary", "malignant4"])
def test_run__real_breakhis(shared, tmp_path, task):
    params = load(None, ["data.source=breakhis", f"data.root={shared / 'breakhis200x'}", f"data.labels={task}",
                         "data.image_size=224",
                         "data.split.allow_missing_classes=true", "data.split.test_fold=1"])  # fmt: skip
    artifact = data.run(params, RunPaths.from_env(tmp_path))
    info, report = read_json(artifact, "dataset.json"), read_json(artifact)
    assert (info["n_images"], info["n_patients"]) == ((305, 31) if task == "binary" else (260, 24))
    assert info["leaked_patients"] == []
    assert bool(info["notes"]) == (task == "malignant4")
    assert report["duplicates"]["exact"]["sets"] == 0
    assert "13412" in info["faults"][0]
    rows = list(csv.DictReader((artifact.folder / "manifest.csv").open()))
    assert {row["split"] for row in rows} == {"train", "val", "test"}


def test_run__real_pneumonia(shared, tmp_path):
    params = load(None, ["data.source=medmnist", f"data.root={shared / 'pneumoniamnist28'}", "data.image_size=28",
                         "data.split.protocol=image"])  # fmt: skip
    info = read_json(data.run(params, RunPaths.from_env(tmp_path)), "dataset.json")
    assert info["counts"]["all"] == {"normal": 1348, "pneumonia": 3873}
