"""Test that a killed multilabel training resumes with the same result as an uninterrupted training."""

import csv
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.runtime.paths import RunPaths
from medtune.stages import data, finetune, frozen

SETTINGS = [
    "task.kind=multilabel", "data.source=folder", "data.csv=t.csv", "data.label_type=multi", "data.image_size=32",
    "data.columns={labels: [bright, striped]}", "data.split={folds: 3, test_fold: 1}", "schedule=staged",
    "tracking.mode=disabled",
    "model={backbone: test_vit, weights: none, backbone_args: {img_size: 32, depth: 2}, head: {kind: linear}}",
    "frozen={epochs: 3, feature_views: 1, batch_size: 8, class_weights: auto, checkpoint_seconds: 0}",
    "finetune={epochs: 3, batch_size: 8, class_weights: {bright: 2}, checkpoint_seconds: 0}",
]  # fmt: skip
# This script runs the stages and kills itself at the end of an epoch.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from medtune.config.load import load
from medtune.runtime.paths import RunPaths
from medtune.stages import finetune, frozen
from medtune.training.loop import Trainer

folder, last, *sets = sys.argv[1:]
finish, epochs = Trainer._finish_epoch, iter(range(1, 100))

def finish_and_kill(self, *args, **kwargs):
    row = finish(self, *args, **kwargs)
    if next(epochs) == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
    return row

Trainer._finish_epoch = finish_and_kill
params, paths = load(None, sets), RunPaths(Path(folder), Path(folder) / "cache")
frozen.run(params, paths)
finetune.run(params, paths)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multilabel")
    rng = np.random.default_rng(0)
    rows = [("path", "group", "bright", "striped")]
    for number in range(36):
        bright, striped = number % 2, number // 2 % 3 == 0
        pixels = rng.normal(80 + 90 * bright, 12, (32, 32, 3))
        pixels[::4] += 60 * striped
        (folder / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{number}.png")
        rows.append((f"{number}.png", f"P{number // 2}", str(bright), str(int(striped))))
    with (folder / "images" / "t.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    sets = [f"data.root={folder / 'images'}", *SETTINGS]
    paths = RunPaths(folder / "uninterrupted", folder / "uninterrupted" / "cache")
    params = load(None, sets)
    data.run(params, paths)
    return sets, params, paths, [frozen.run(params, paths).sha256, finetune.run(params, paths).sha256]


@pytest.mark.slow
@pytest.mark.parametrize("last", [2, 5], ids=["in-frozen", "in-finetune"])
def test_training__killed_and_resumed_equals_uninterrupted(world, tmp_path, last):
    sets, params, uninterrupted, digests = world
    paths = RunPaths(tmp_path, tmp_path / "cache")
    shutil.copytree(uninterrupted.prepared, paths.prepared)
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(last), *sets], cwd=PROJECT, capture_output=True, check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert not Path(paths.stage("finetune", 1), "result.json").exists()
    assert [frozen.run(params, paths).sha256, finetune.run(params, paths).sha256] == digests
