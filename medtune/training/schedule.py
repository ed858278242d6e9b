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


def epoch_order(indices: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """`indices` in the order of one epoch."""
    return indices[torch.randperm(len(indices), generator=generator).numpy()]
