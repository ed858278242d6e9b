"""How much faster one model is than another: both asked in turn, so that what disturbs one disturbs the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

ROUNDS = 9
# Where networks are slow, fewer rounds do; never fewer than so many.
FEWEST, LIMIT_S = 3, 60.0

Ask = Callable[[np.ndarray], object]


def race(
    models: Mapping[str, Ask], images: np.ndarray, batches: Sequence[int], rounds: int = ROUNDS
) -> dict[int, dict[str, float]]:
    """Median seconds a batch for each batch size and model, rounds interleaved; one round before them warms up.

    Args:
        models: each takes uint8 (b, H, W, 3).
        images: (n, H, W, 3) uint8, repeated where a batch wants more.
        batches: batch sizes.
        rounds: of each batch size; fewer, but three, once a minute has gone.
    """
    found = {}
    for size in batches:
        batch = images[np.arange(size) % len(images)]
        seconds: dict[str, list[float]] = {name: [] for name in models}
        begun = time.perf_counter()
        for done in range(rounds + 1):
            if done > FEWEST and time.perf_counter() - begun > LIMIT_S:
                break
            for name, ask in models.items():
                start = time.perf_counter()
                ask(batch)
                seconds[name].append(time.perf_counter() - start)
        found[size] = {name: median(times[1:]) for name, times in seconds.items()}
    return found


def speedups(found: Mapping[int, Mapping[str, float]], slow: str, fast: str) -> dict[str, float]:
    """How many times as fast as `slow` model `fast` is, by batch size, of what `race` found."""
    return {str(size): round(seconds[slow] / seconds[fast], 3) for size, seconds in found.items()}
