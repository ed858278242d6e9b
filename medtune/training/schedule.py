"""Learning rate per step and order of images per epoch, as deterministic functions of step and seed."""

import hashlib
import math
from typing import Any

import numpy.typing as npt
import torch


def lr_factor(step: int, steps: int, warmup: int) -> float:
    """Return the fraction of the base learning rate at a step.

    Args:
        step: from 0.
        steps: total number of steps.
        warmup: number of steps with linear growth from 1 %. After them, the rate follows a cosine to 0.

    Returns:
        Fraction, 0..1.
    """
    if step < warmup:
        return 0.01 + 0.99 * step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def stream_seed(*parts: object) -> int:
    """Return a separate seed (63 bits) for each named stream of random numbers."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def epoch_order(indices: npt.NDArray[Any], generator: torch.Generator) -> npt.NDArray[Any]:
    """Return `indices` in the random order of one epoch."""
    order: npt.NDArray[Any] = indices[torch.randperm(len(indices), generator=generator).numpy()]
    return order
