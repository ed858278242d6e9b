"""Profile of training steps on patches of volumes in a separate process for medtune.doctor: seconds and memory.

The process reads params as JSON from stdin and writes the result as JSON to stdout. `data.patch` must be set. The
weights are random, because they do not affect the duration.
"""

import json
import sys
from typing import Any

import torch

from medtune.config import registry
from medtune.config.load import validate
from medtune.config.schema import Params
from medtune.models.adapt import adapt
from medtune.runtime.device import device_name
from medtune.tasks import base
from medtune.training.malloc import retain_freed_memory
from medtune.training.profile import measure, peak_memory, trainer


def profile_steps(params: Params) -> dict[str, Any]:
    """Measure a forward pass of a patch, and a training step of each stage in the schedule.

    Args:
        params: all params, with `data.patch`.

    Returns:
        `forward`, `head` (a step of stage 1) and `train` (a step of stage 2), each as from `measure`. `memory` in
        bytes, and the `device`.
    """
    retain_freed_memory()
    source = registry.load_plugin("medtune.data.sources", params.data.source, "data.source")
    channels, classes = len(source.channels(params.data)), len(source.classes(params.data)) + 1
    patch = getattr(params.data, "patch")  # noqa: B009
    layout = {"classes": classes, "channels": channels, "patch": list(patch)}
    bare = params.model_copy(update={"model": params.model.model_copy(update={"weights": "none"})})
    device = torch.device(device_name())
    model = base.training(params.task.kind).build(bare, layout, load_weights=False).to(device)

    def windows(batch: int) -> torch.Tensor:
        return torch.randn(batch, channels, *patch, device=device)

    def labels(batch: int) -> torch.Tensor:
        return torch.randint(0, classes, (batch, *patch), device=device)

    @torch.inference_mode()
    def forward(batch: int) -> None:
        model(windows(batch))

    result: dict[str, Any] = {"device": str(device), "forward": measure(forward, 1, device)}
    needed = 0.0
    for stage, name in (("frozen", "head"), ("finetune", "train")):
        if stage not in params.training_stages:
            continue
        if stage == "frozen":
            model.backbone.requires_grad_(False)
        else:
            model.backbone.requires_grad_(True)
            model = adapt(model, bare)
        before, size = peak_memory(), getattr(params, stage).batch_size
        result[name] = measure(trainer(params, stage, model, windows, labels), size, device)
        step = max(peak_memory() - before, 0) * size / result[name]["batch"]
        needed = max(needed, before + step)
    result["memory"] = needed
    return result


def main() -> None:
    """Read params from stdin and print the measurements."""
    print(json.dumps(profile_steps(validate(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
