"""Two processes on one batch: every row once, one state in both; a cut run ends as the uncut one, with dropout."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from medtune.config.training import AugmentParams
from medtune.training.augmentation import augment
from medtune.training.replicas import local_slice

LOOP = Path(__file__).with_name("test_loop.py")

SCRIPT = """
import hashlib, importlib.util, json, sys
from pathlib import Path
import torch
from medtune.runtime import distributed as ranks
spec = importlib.util.spec_from_file_location("test_loop", sys.argv[1])
loop = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loop)
place = Path(sys.argv[2])

def digest(state):
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()

def ended(folder, drop=0.0, compiled=False, unused=False, **settings):
    made = loop.job(place / folder, **settings)
    made.network[2].p = drop
    if compiled:
        real = torch.compile
        torch.compile = lambda network, **options: real(network, backend="eager", **options)
        made.compile = True
    if unused:
        made.network.register_module("spare", torch.nn.Linear(3, 3))
        made.network.forward = lambda x: made.network[3](made.network[2](made.network[1](made.network[0](x))))
    at, best, last = loop.ended(made)
    return {"history": at.history, "best": digest(best), "last": digest(last)}

with ranks.process_group():
    found = {
        "uneven": ended("uneven", batch_size=43, ema=0.9),
        "accumulated": ended("accumulated", batch_size=5, accumulate=3, ema=0.9),
        "adam": ended("adam", optimizer="adam", clip_norm=None),
        "unused": ended("unused", unused=True),
    }
    if ranks.world_size() > 1:
        found["whole"] = ended("whole", drop=0.3, batch_size=2)
        try:
            ended("cut", drop=0.3, batch_size=2, cut_at=("step", 43))
        except loop.Cut:
            pass
        ranks.barrier()
        assert (place / "cut" / "checkpoint.safetensors").exists()
        found["resumed"] = ended("cut", drop=0.3, batch_size=2)
    found["compiled"] = ended("compiled", batch_size=16, compiled=True)
    print("FOUND " + json.dumps(found), flush=True)
"""


METHODS = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from medtune.runtime import distributed as ranks; from medtune.config import registry
from medtune.config.load import load
from medtune.config.training import TrainingParams
from medtune.tasks.classification.training import CrossEntropy
from medtune.models.adapt import adapt, after_step, penalty, prepare
from medtune.models.classifier import build
from medtune.training.augmentation import Geometry
from medtune.training.trainer_config import TrainerConfig
from medtune.training.loop import Trainer

BACKBONES = {"vit": "test_vit", "convnext": "test_convnext", "resnet": "test_resnet", "mobilenet": "test_efficientnet"}
SIZE = 64
draw = np.random.default_rng(0)
labels = draw.integers(0, 3, 11)
images = torch.from_numpy(draw.normal(size=(11, 3, SIZE, SIZE)).astype(np.float32))

class Plain:
    def train(self, rows, generator, take):
        return images[rows[take]], Geometry()

    def score(self, rows):
        return images[rows]

def curve(method):
    plugin = registry.load_plugin("medtune.models.peft", method, "model.peft.method")
    family = (plugin.SUPPORTED_FAMILIES or ("vit",))[0]
    args = f"{{img_size: {SIZE}}}" if family == "vit" else "{}"
    params = load(sets=[
        f"model.backbone={BACKBONES[family]}", "model.weights=none", f"model.backbone_args={args}",
        f"data.image_size={SIZE}", "model.head.kind=linear", f"model.peft.method={method}",
    ])
    model = adapt(build(params, 3), params)
    prepare(model, [(images[:4], torch.from_numpy(labels[:4]))], params)
    job = TrainerConfig(
        name=method, network=model, saved=model, set_modes=model.eval, source=Plain(), targets=labels,
        train=np.arange(7), val=np.arange(7, 11), objective=CrossEntropy(),
        params=TrainingParams(epochs=2, batch_size=3, lr=1e-3, warmup_epochs=0, select_by="loss", ema=None),
        seed=1, key="key", checkpoint_dir=Path(sys.argv[2]) / method,
        penalty=penalty(model, params), after_step=after_step(model, params),
    )
    return {"history": Trainer(job, "cpu").run()[0].history}

with ranks.process_group():
    methods = registry.plugin_names("medtune.models.peft")
    print("FOUND " + json.dumps({method: curve(method) for method in methods}), flush=True)
"""


def processes(count, place, script=SCRIPT):
    """What each of `count` processes found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "PYTHONPATH": str(LOOP.parents[2]), "OMP_NUM_THREADS": "1"}
    if count > 1:
        common |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = []
    for rank in range(count):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
        words = [sys.executable, "-c", script, str(LOOP), str(place)]
        running.append(
            subprocess.Popen(words, env=common | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    try:
        ended = [process.communicate(timeout=300) for process in running]
    finally:
        for process in running:
            process.kill()
    assert all(process.returncode == 0 for process in running), [errors[-3000:] for _, errors in ended]
    lines = [next(line for line in out.splitlines() if line.startswith("FOUND ")) for out, _ in ended]
    return [json.loads(line.removeprefix("FOUND ")) for line in lines]


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_processes__train_as_one_and_agree(tmp_path):
    (alone,), (first, second) = processes(1, tmp_path / "one"), processes(2, tmp_path / "two")
    assert first == second  # to the last bit: averages, best epochs, decisions
    assert first["whole"] == first["resumed"]
    assert_same_curves(alone, first)


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
def test_methods__train_in_two_processes_as_in_one(tmp_path):
    (alone,), (first, second) = processes(1, tmp_path / "one", METHODS), processes(2, tmp_path / "two", METHODS)
    assert first == second
    assert len(first) > 30
    assert_same_curves(alone, first)


def assert_same_curves(alone, first):
    for name, run in alone.items():
        assert len(run["history"]) == len(first[name]["history"])
        for a, b in zip(run["history"], first[name]["history"], strict=True):
            assert a["step"] == b["step"]
            for figure in ("train/loss", "val/loss"):
                assert b[figure] == pytest.approx(a[figure], rel=1e-4), name


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_own_rows__are_every_row_once(monkeypatch, batch, count):
    monkeypatch.setenv("WORLD_SIZE", str(count))
    weights = np.zeros(batch)
    for rank in range(count):
        monkeypatch.setenv("RANK", str(rank))
        take, weight = local_slice(batch)
        assert len(np.arange(batch)[take])
        weights[take] += weight
    assert weights.tolist() == [1.0] * batch


@pytest.mark.parametrize("take", [slice(0, None, 2), slice(1, None, 2), slice(0, 1)])
def test_augment__draws_for_the_whole_batch_whoever_computes_it(take):
    images = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8)
    options = AugmentParams(rotate=20.0)
    whole = augment(images, options, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    torch.testing.assert_close(augment(images[take], options, generator, 5, take), whole[take])
    again = torch.Generator().manual_seed(3)
    augment(images, options, again)
    assert torch.equal(generator.get_state(), again.get_state())
