"""Profile of training steps in a separate process for medtune.doctor: seconds per image and memory.

The process reads params as JSON from stdin and writes the result as JSON to stdout. The weights are random, because
they do not affect the duration.
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

CLASSES = 4  # an example
SECONDS = 5.0  # time limit per kind of step


def measure(step: Callable[[int], None], batch_size: int, device: torch.device) -> dict[str, float]:
    """Measure the duration of a step.

    A batch of two images is timed first. If a step with the requested batch would take more than half of the time
    limit, the small batch is measured instead.

    Args:
        step: called with a batch size.
        batch_size: requested batch size.
        device: torch device.

    Returns:
        `seconds` per image, and the `batch` size of the measurement.
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
    """Measure a forward pass, and a training step of each stage in the schedule.

    Args:
        params: all params.

    Returns:
        `forward` (the backbone), `head` (a step of stage 1) and `train` (a step of stage 2), each as from `measure`.
        `memory` in bytes, and the `device`.
    """
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

    result: dict[str, Any] = {"device": str(device), "forward": measure(forward, 32, device)}
    base = peak_memory()
    if "frozen" in params.training_stages:
        with torch.no_grad():
            shape = model.features(images(2)).shape[1:]
        step = trainer(params, "frozen", model.head, lambda batch: torch.randn(batch, *shape, device=device))
        result["head"] = measure(step, params.frozen.batch_size, device)
    if "finetune" in params.training_stages:
        model = adapt(model, bare)
        if params.finetune.gradient_checkpointing:
            model.backbone.set_grad_checkpointing(True)  # type: ignore[operator]
        result["train"] = measure(trainer(params, "finetune", model, images), params.finetune.batch_size, device)
    last = result.get("train") or result["forward"]
    batch_size = params.finetune.batch_size if "train" in result else last["batch"]
    result["memory"] = base + max(peak_memory() - base, 0) * batch_size / last["batch"]
    return result


def trainer(
    params: Params,
    stage: str,
    network: torch.nn.Module,
    inputs: Callable[[int], torch.Tensor],
    targets: Callable[[int], torch.Tensor] = lambda batch: torch.arange(batch) % CLASSES,
) -> Callable[[int], None]:
    """Return a training step that is called with a batch size.

    Args:
        params: all params.
        stage: `frozen` or `finetune`.
        network: its parameters with requires_grad are trained.
        inputs: maps a batch size to a batch of inputs.
        targets: maps a batch size to a batch of class indices.

    Returns:
        The step.
    """
    section = getattr(params, stage)
    network.train()
    accelerator = build_accelerator(section, device_name(), False)
    prepared, optimizer = accelerator.prepare(
        network, build_optimizer(network, section, params.learning_rates(stage)[0])
    )

    def step(batch: int) -> None:
        x = inputs(batch)
        with accelerator.autocast():
            loss = F.cross_entropy(prepared(x).float(), targets(batch).to(x.device))
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def peak_memory() -> float:
    """Return the peak resident memory of this process in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Read params from stdin and print the measurements."""
    print(json.dumps(profile_steps(validate(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
