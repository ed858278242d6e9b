"""Curves of many settings and of every PEFT method, from a single process or from distributed processes.

`python -m tests.training.curves FOLDER` prints them as JSON.
"""

import hashlib
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medtune.config import registry
from medtune.config.load import load, validate
from medtune.config.training import TrainingParams
from medtune.models.adapt import adapt, after_step, penalty, prepare
from medtune.models.classifier import build
from medtune.runtime import distributed as ranks
from medtune.tasks.classification.training import CrossEntropy
from medtune.training.augmentation import Geometry
from medtune.training.loop import Trainer
from medtune.training.trainer_config import TrainerConfig
from tests.training import test_loop as loop

Curves = dict[str, dict[str, Any]]

BACKBONES = {"vit": "test_vit", "convnext": "test_convnext", "resnet": "test_resnet", "mobilenet": "test_efficientnet"}
SIZE = 32


def settings(folder: Path) -> Curves:
    """Return the history and the digests of the best and last weights per setting."""

    def train(name: str, drop: float = 0.0, compiled: bool = False, unused: bool = False, **changes: Any) -> Any:
        config = loop.make_config(folder / name, **changes)
        config.network[2].p = drop
        if unused:
            config.network.register_module("spare", torch.nn.Linear(3, 3))
            config.network.forward = lambda x: config.network[3](
                config.network[2](config.network[1](config.network[0](x)))
            )
        compile_network = torch.compile
        if compiled:
            torch.compile = lambda network, **options: compile_network(network, backend="eager", **options)
            config.compile = True
        try:
            state, best, last = loop.train(config)
        finally:
            torch.compile = compile_network
        return {"history": state.history, "best": _digest(best), "last": _digest(last)}

    curves = {
        "uneven": train("uneven", batch_size=43, ema_decay=0.9),
        "accumulated": train("accumulated", batch_size=5, gradient_accumulation_steps=3, ema_decay=0.9),
        "adam": train("adam", optimizer="adam", clip_norm=None),
        "unused": train("unused", unused=True),
    }
    if ranks.world_size() > 1:
        common: dict[str, Any] = {"drop": 0.3, "batch_size": 2, "epochs": 3}
        curves["uninterrupted"] = train("uninterrupted", **common)
        with suppress(loop.Interrupted):
            train("interrupted", **common, interrupt_at=("step", 43))
        ranks.barrier()
        assert (folder / "interrupted" / "checkpoint.safetensors").exists()
        curves["resumed"] = train("interrupted", **common)
    curves["compiled"] = train("compiled", batch_size=16, compiled=True)
    return curves


def methods(folder: Path) -> Curves:
    """Return the history per PEFT method."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 11)
    images = torch.from_numpy(draw.normal(size=(11, 3, SIZE, SIZE)).astype(np.float32))

    class ImageSource:
        def train(self, rows: Any, generator: Any, take: Any) -> Any:
            return images[rows[take]], Geometry()

        def score(self, rows: Any) -> Any:
            return images[rows]

    base = load(sets=["model.weights=none", f"data.image_size={SIZE}", "model.head.kind=linear"])
    tree = base.model_dump(mode="json")

    def curve(method: str) -> Any:
        plugin = registry.load_plugin("medtune.models.peft", method, "model.peft.method")
        family = (plugin.SUPPORTED_FAMILIES or ("vit",))[0]
        args = {"img_size": SIZE} if family == "vit" else {}
        network = {"backbone": BACKBONES[family], "backbone_args": args, "peft": {"method": method}}
        params = validate({**tree, "model": {**tree["model"], **network}})
        torch.manual_seed(0)
        model = adapt(build(params, 3), params)
        prepare(model, [(images[:4], torch.from_numpy(labels[:4]))], params)
        config = TrainerConfig(
            name=method,
            network=model,
            saved=model,
            set_modes=model.eval,
            source=ImageSource(),
            targets=labels,
            train=np.arange(7),
            val=np.arange(7, 11),
            objective=CrossEntropy(),
            params=TrainingParams(epochs=2, batch_size=3, warmup_epochs=0, monitor="loss", ema_decay=None),
            lr=1e-3,
            seed=1,
            key="key",
            checkpoint_dir=folder / method,
            penalty=penalty(model, params),
            after_step=after_step(model, params),
        )
        return {"history": Trainer(config, "cpu").run()[0].history}

    return {method: curve(method) for method in registry.plugin_names("medtune.models.peft")}


def all_curves(folder: Path) -> dict[str, Curves]:
    """Return the curves of all settings and methods."""
    return {"settings": settings(folder / "settings"), "methods": methods(folder / "methods")}


def _digest(state: dict[str, torch.Tensor]) -> str:
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


if __name__ == "__main__":
    with ranks.process_group():
        print("CURVES " + json.dumps(all_curves(Path(sys.argv[1]))), flush=True)
