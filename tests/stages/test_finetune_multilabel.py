"""Test that a killed multilabel training resumes with the same result as an uninterrupted training."""

import csv
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

from medtune.config.load import load
from medtune.runtime.paths import RunPaths
from medtune.stages import data, finetune, frozen
from medtune.training.loop import Trainer
from tests.robustness.isolated import isolated

SETTINGS = [
    "task.kind=multilabel", "data.source=folder", "data.csv=t.csv", "data.label_type=multi", "data.image_size=32",
    "data.columns={labels: [bright, striped]}", "data.split={folds: 3, test_fold: 1}", "schedule=staged",
    "tracking.mode=disabled",
    "model={backbone: test_vit, weights: none, backbone_args: {img_size: 32, depth: 2}, head: {kind: linear}}",
    "frozen={epochs: 3, lr: 0.1, feature_views: 1, batch_size: 8, class_weights: auto, checkpoint_seconds: 0}",
    "finetune={epochs: 3, lr: 3.0e-5, batch_size: 8, class_weights: {bright: 2}, checkpoint_seconds: 0}",
]  # fmt: skip
KILLED_AFTER = {"in frozen": 2, "in finetune": 5}  # number of epochs


def run_and_kill(sets, folder, last):
    """Run the stages in a fork of this process, which kills itself after `last` epochs, and return its exit code."""
    if (process := os.fork()) == 0:
        finish, epochs = Trainer._finish_epoch, iter(range(1, 100))

        def finish_and_kill(self, *args, **kwargs):
            row = finish(self, *args, **kwargs)
            if next(epochs) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return row

        Trainer._finish_epoch = finish_and_kill
        try:
            run_stages(load(None, sets), RunPaths(folder, folder / "cache"))
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run_and_kill_each(sets, folders):
    return [run_and_kill(sets, folder, KILLED_AFTER[name]) for name, folder in folders.items()]


def run_stages(params, paths):
    return [frozen.run(params, paths).sha256, finetune.run(params, paths).sha256]


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
    return sets, params, paths, run_stages(params, paths)


@pytest.mark.nightly
@pytest.mark.slow
def test_training__killed_and_resumed_equals_uninterrupted(world, tmp_path):
    sets, params, uninterrupted, digests = world
    folders = {name: tmp_path / name for name in KILLED_AFTER}
    for folder in folders.values():
        shutil.copytree(uninterrupted.prepared, RunPaths(folder, folder / "cache").prepared)
    assert isolated(run_and_kill_each, sets, folders) == [-signal.SIGKILL] * 2
    for name, folder in folders.items():
        paths = RunPaths(folder, folder / "cache")
        assert (paths.stage("frozen", 1) / "result.json").exists() == (name == "in finetune")
        assert not (paths.stage("finetune", 1) / "result.json").exists()
        assert run_stages(params, paths) == digests, name
