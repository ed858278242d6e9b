"""Tests of training with two processes: same losses as one process, a single writer, and resume after a kill."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import torch

from medtune.cli.main import call
from medtune.config.load import validate
from medtune.runtime.artifact import RESULT_FILE, find_artifact, read_result
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from medtune.serving.checksum import dump_with_checksum
from medtune.stages import finetune, frozen
from medtune.training import checkpoint
from tests.forked_ranks import run_ranks
from tests.tasks.segmentation.prepared_volumes import segmentation_params, write

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ddp")]

ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")}


@pytest.fixture
def world(make_world, tmp_path):
    """Prepare data whose 15 training images leave one in the last batch of 7, and write the params file."""
    small_world = make_world(test_fold=1, trained=False)

    def world(**changes):
        tree = small_world.params.model_dump(mode="json")
        tree["schedule"] = "staged"
        common = {"checkpoint_seconds": 0, "lr": 1e-3}
        tree["frozen"] = {**common, "epochs": 3, "feature_views": 2, "batch_size": 4, "gradient_accumulation_steps": 2}
        tree["finetune"] = {**common, "epochs": 3, "lr": 1e-4, "batch_size": 7}
        for path, value in changes.items():
            section, _, key = path.partition("__")
            tree[section][key] = value
        params = validate(tree)
        (tmp_path / "params.yaml").write_text(params.model_dump_json())
        sealed = dump_with_checksum({**read_result(small_world.paths.prepared), "key": data_key(params)})
        (small_world.paths.prepared / RESULT_FILE).write_text(sealed)
        single = RunPaths(tmp_path / "alone", tmp_path / "alone" / "cache")
        shutil.copytree(small_world.paths.prepared, single.prepared, dirs_exist_ok=True)
        return params, small_world.paths, single

    return world


def command(stage, paths, *arguments):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--main_process_port", str(port), "--mixed_precision", "no", "--num_machines", "1"]
    options = ["--params", paths.out / "params.yaml", "--out", paths.out]
    return [*launcher, "-m", "medtune", *stage.split(), *options, *arguments]


def wait_and_terminate(process):
    """Read the output of the process and terminate it."""
    try:
        return process.communicate(timeout=300)
    finally:
        process.terminate()  # this also terminates the processes of the launcher


def start_stage(stage, paths, *arguments):
    environment = ENVIRONMENT | {"MEDTUNE_CACHE": str(paths.cache), "OMP_NUM_THREADS": "1", "MEDTUNE_DEVICE": "cpu"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(stage, paths, *arguments), env=environment, **pipes)


def run_alone(params, paths):
    return frozen.run(params, paths), finetune.run(params, paths)


def history(folder):
    return list(csv.DictReader((folder / "history.csv").open()))


def assert_same_curve(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert (a["epoch"], a["step"], a["lr"]) == (b["epoch"], b["step"], b["lr"])
        for name in ("train/loss", "val/loss"):
            assert float(a[name] or 0) == pytest.approx(float(b[name] or 0), rel=1e-4), (a, b)


@pytest.mark.nightly
def test_launch__stage_1_in_two_processes_has_the_losses_of_one(world, tmp_path):
    params, paths, single = world()
    expected = frozen.run(params, single)
    arguments = ("medtune", "stage", "frozen", "--params", str(paths.out / "params.yaml"), "--out", str(paths.out))
    (first, second), repeated = run_ranks(tmp_path / "printed", *arguments, times=2, MEDTUNE_CACHE=str(paths.cache))
    assert (first + second).count("frozen fold 1: ") == 2  # the progress line and the final line of a single process
    assert_same_curve(history(paths.stage("frozen", 1)), history(expected.folder))
    assert "".join(repeated).count("frozen fold 1: ") == 1  # both processes reuse the artifact


def test_launch__two_processes_have_the_losses_of_one_after_a_kill(world, tmp_path):
    # AdaLoRA has the most state of all methods.
    params, paths, single = world(finetune__epochs=25, model__peft={"method": "adalora"})
    expected = run_alone(params, single)
    shutil.copytree(expected[0].folder, paths.stage("frozen", 1))

    process = start_stage("stage finetune", paths, "--fold", "1")
    training_checkpoint = paths.stage("finetune", 1).with_name(".fold-1.training") / checkpoint.CHECKPOINT_FILE
    while not training_checkpoint.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    rank = max(psutil.Process(process.pid).children(), key=lambda child: child.pid)
    rank.send_signal(signal.SIGKILL)
    wait_and_terminate(process)
    assert process.returncode != 0
    assert not paths.stage("finetune", 1).exists()

    arguments = ("medtune", "stage", "finetune", "--fold", "1", "--params", str(paths.out / "params.yaml"))
    arguments += ("--out", str(paths.out))
    (outputs,) = run_ranks(tmp_path / "printed", *arguments, shared=("peft",), MEDTUNE_CACHE=str(paths.cache))
    assert "".join(outputs).count("resumed at epoch") == 1
    assert_same_curve(history(paths.stage("finetune", 1)), history(expected[1].folder))
    model = checkpoint.load_trained(find_artifact(paths.stage("finetune", 1)))
    assert not model.training
    assert not [p for p in paths.out.rglob("*") if p.name.endswith((".tmp", ".training", ".partial"))]


def test_launch__segmentation_in_two_processes_has_the_weights_of_one(tmp_path):
    """Three training volumes in batches of two: the second process has no volume in the last batch."""
    model = {"peft": {"method": "lora"}, "backbone_args": {"depth": 1}, "head": {"kind": "decoder", "width": 4}}
    params = segmentation_params("test_vit", schedule="full", model=model, finetune={"lr": 1e-3})
    paths = RunPaths(tmp_path, tmp_path / "cache")
    prepared = write(tmp_path, params, data_key(params))
    assert len(prepared.indices(0)["train"]) == 3
    single = RunPaths(tmp_path / "alone", tmp_path / "alone" / "cache", data=paths.prepared)
    expected = finetune.run(params, single, 0)
    (tmp_path / "params.yaml").write_text(params.model_dump_json())
    arguments = ("medtune", "stage", "finetune", "--fold", "0", "--params", str(tmp_path / "params.yaml"))
    arguments += ("--out", str(tmp_path))
    run_ranks(tmp_path / "printed", *arguments, MEDTUNE_CACHE=str(paths.cache))
    found = find_artifact(paths.stage("finetune", 0))
    assert_same_curve(history(found.folder), history(expected.folder))
    for left, right in zip(history(found.folder), history(expected.folder), strict=True):
        assert float(left["val/dice"]) == pytest.approx(float(right["val/dice"]), abs=1e-3)
    weights = [checkpoint.load_trained(artifact).state_dict() for artifact in (found, expected)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.allclose(value, weights[1][name], atol=1e-4) for name, value in weights[0].items())


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("stage finetune", "error: model.batchnorm=train: every process would have"),
        (
            "evaluate",
            "error: WORLD_SIZE=2: only `medtune stage` supports several processes",
        ),
    ],
)
def test_launch__unsupported_settings_are_one_line(world, stage, expected, monkeypatch, capsys):
    _, paths, _ = world(model__batchnorm="train")
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MEDTUNE_CACHE": str(paths.cache)}.items():
        monkeypatch.setenv(name, value)
    assert call([*stage.split(), "--params", str(paths.out / "params.yaml"), "--out", str(paths.out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(expected)
