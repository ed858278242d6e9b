"""How much faster one model is than another: both asked in turn, so that what disturbs one disturbs the other."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

ROUNDS = 9
# Where networks are slow, fewer rounds do; never fewer than so many.
MIN_ROUNDS, LIMIT_S = 3, 60.0
# A turn asks a fast network more than once: a hundredth of a second is soon disturbed.
TURN_S, MAX_REPEATS = 0.1, 10

Predict = Callable[[np.ndarray], object]


def benchmark_interleaved(
    models: Mapping[str, Predict], images: np.ndarray, batches: Sequence[int], rounds: int = ROUNDS
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
        slowest = max(_time_turn(ask, batch, 1)[0] for ask in models.values())
        repeats = max(1, min(MAX_REPEATS, int(TURN_S / max(slowest, 1e-9))))
        seconds: dict[str, list[float]] = {name: [] for name in models}
        begun = time.perf_counter()
        for done in range(rounds):
            if done >= MIN_ROUNDS and time.perf_counter() - begun > LIMIT_S:
                break
            for name, ask in models.items():
                seconds[name] += _time_turn(ask, batch, repeats)
        found[size] = {name: median(times) for name, times in seconds.items()}
    return found


def _time_turn(ask: Predict, batch: np.ndarray, repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        ask(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


def speedups(times: Mapping[int, Mapping[str, float]], slow: str, fast: str) -> dict[str, float]:
    """How many times as fast as `slow` model `fast` is, by batch size, of what `benchmark_interleaved` found."""
    return {str(size): round(seconds[slow] / seconds[fast], 3) for size, seconds in times.items()}
