"""Relative latency of models. They run alternately, so that other work on the machine affects all of them equally."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

ROUNDS = 9
# The measurement of a batch size stops after LIMIT_S seconds, but not before MIN_ROUNDS rounds.
MIN_ROUNDS, LIMIT_S = 3, 60.0
# In each round, every model runs 1 to MAX_REPEATS times: as often as the slowest model can run in TURN_S seconds.
TURN_S, MAX_REPEATS = 0.1, 10

Predict = Callable[[np.ndarray], object]


def benchmark_interleaved(
    models: Mapping[str, Predict], images: np.ndarray, batches: Sequence[int], rounds: int = ROUNDS
) -> dict[int, dict[str, float]]:
    """Measure the median time per batch, after one warm-up run per model.

    Args:
        models: models by name. Each is a function of inputs (b, ...).
        images: (n, ...) inputs, for example images. They are repeated for larger batches.
        batches: batch sizes.
        rounds: maximum number of rounds per batch size. In each round, the models run one after another.

    Returns:
        Median seconds per batch, by batch size and model.
    """
    medians = {}
    for size in batches:
        batch = images[np.arange(size) % len(images)]
        slowest = max(_time_turn(predict, batch, 1)[0] for predict in models.values())
        repeats = max(1, min(MAX_REPEATS, int(TURN_S / max(slowest, 1e-9))))
        seconds: dict[str, list[float]] = {name: [] for name in models}
        start_time = time.perf_counter()
        for done in range(rounds):
            if done >= MIN_ROUNDS and time.perf_counter() - start_time > LIMIT_S:
                break
            for name, predict in models.items():
                seconds[name] += _time_turn(predict, batch, repeats)
        medians[size] = {name: median(times) for name, times in seconds.items()}
    return medians


def _time_turn(predict: Predict, batch: np.ndarray, repeats: int) -> list[float]:
    """Return the seconds of each of `repeats` runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        predict(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


def speedups(times: Mapping[int, Mapping[str, float]], slow: str, fast: str) -> dict[str, float]:
    """Return the speedup of model `fast` over `slow` by batch size, from times of `benchmark_interleaved`."""
    return {str(size): round(seconds[slow] / seconds[fast], 3) for size, seconds in times.items()}
