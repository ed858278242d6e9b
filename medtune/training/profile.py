"""Seconds per image and memory of each kind of training step, measured in a process of its own for medtune.doctor.

Params come as JSON on stdin, the answer goes as JSON to stdout. The weights are random: time does not depend on them.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from medtune.config.load import validate
from medtune.config.schema import Params
from medtune.models import classifier
from medtune.models.adapt import adapt
from medtune.runtime.device import device_name
from medtune.training.malloc import retain_freed_memory
from medtune.training.optimizer import build_accelerator, build_optimizer

CLASSES = 4
SECONDS = 5.0  # each kind of step


def measure(step: Callable[[int], None], batch_size: int, device: torch.device) -> dict[str, float]:
    """`seconds` an image of `step`, which is told a batch size, and the `batch` it was measured with.

    A batch of two tells whether the one wanted can be had in the time there is.
    """

    def timed(batch: int) -> float:
        begin = time.perf_counter()
        step(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    small = min(2, batch_size)
    timed(small)
    once = timed(small)
    batch = batch_size if once / small * batch_size < SECONDS / 2 else small
    begin, runs = time.perf_counter(), list[float]()
    if batch != small:
        timed(batch)
    while not runs or (len(runs) < 8 and time.perf_counter() - begin < SECONDS):
        runs.append(timed(batch))
    return {"seconds": statistics.median(runs) / batch, "batch": batch}


def profile_steps(params: Params) -> dict[str, Any]:
    """What a forward pass, a step of the head and a step of stage 2 take, where the schedule has them."""
    retain_freed_memory()
    bare = params.model_copy(update={"model": params.model.model_copy(update={"weights": "none"})})
    device = torch.device(device_name())
    model = classifier.build(bare, CLASSES).to(device)
    side = params.data.image_size

    def images(batch: int) -> torch.Tensor:
        return model.preprocess(torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, device=device))

    @torch.inference_mode()
    def forward(batch: int) -> None:
        model.features(images(batch))

    found: dict[str, Any] = {"device": str(device), "forward": measure(forward, 32, device)}
    base = _peak_memory(device)
    if "frozen" in params.training_stages:
        with torch.no_grad():
            shape = model.features(images(2)).shape[1:]
        step = _trainer(params, "frozen", model.head, lambda batch: torch.randn(batch, *shape, device=device))
        found["head"] = measure(step, params.frozen.batch_size, device)
    if "finetune" in params.training_stages:
        model = adapt(model, bare)
        if params.finetune.gradient_checkpointing:
            model.backbone.set_grad_checkpointing(True)  # type: ignore[operator]
        found["train"] = measure(_trainer(params, "finetune", model, images), params.finetune.batch_size, device)
    last = found.get("train") or found["forward"]
    wanted = params.finetune.batch_size if "train" in found else last["batch"]
    found["memory"] = base + max(_peak_memory(device) - base, 0) * wanted / last["batch"]
    return found


def _trainer(
    params: Params, stage: str, network: torch.nn.Module, inputs: Callable[[int], torch.Tensor]
) -> Callable[[int], None]:
    section = getattr(params, stage)
    network.train()
    accelerator = build_accelerator(section, device_name(), False)
    prepared, optimizer = accelerator.prepare(
        network, build_optimizer(network, section, params.learning_rates(stage)[0])
    )

    def step(batch: int) -> None:
        x = inputs(batch)
        with accelerator.autocast():
            loss = F.cross_entropy(prepared(x).float(), torch.arange(batch, device=x.device) % CLASSES)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _peak_memory(device: torch.device) -> float:
    """Most that this process had so far of the machine's memory, bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Answers once."""
    print(json.dumps(profile_steps(validate(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
