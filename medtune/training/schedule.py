"""Learning rate a step, and the sample order an epoch: both pure functions of what is seeded."""

import hashlib
import math

import numpy as np
import torch


def lr_factor(step: int, steps: int, warmup: int) -> float:
    """Share of the base learning rate at `step`: linear from 1 % over `warmup` steps, then cosine to 0."""
    if step < warmup:
        return 0.01 + 0.99 * step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def stream_seed(*parts: object) -> int:
    """A seed (63 bits) of its own for each named stream of random numbers."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def epoch_order(rows: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """`rows` in the order of one epoch."""
    return rows[torch.randperm(len(rows), generator=generator).numpy()]


def class_weights(setting: str | dict[str, float], classes: tuple[str, ...], labels: np.ndarray) -> torch.Tensor | None:
    """Weight of each class in the loss, mean 1 over the training images; None for equal weights.

    Args:
        setting: `none`, `auto` (inverse frequency; a class without images weighs 0) or class -> weight.
        classes: class names.
        labels: (n,) labels of the training images.
    """
    if setting == "none":
        return None
    counts = np.bincount(labels, minlength=len(classes))
    if setting == "auto":
        weights = np.divide(1.0, counts, out=np.zeros(len(classes)), where=counts > 0)
    else:
        assert isinstance(setting, dict)
        weights = np.array([setting.get(name, 1.0) for name in classes])
    return torch.tensor(weights * len(labels) / (weights * counts).sum(), dtype=torch.float32)
