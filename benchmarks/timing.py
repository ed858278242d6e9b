"""Timing of variants that run alternately, so that other work on the machine affects all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def time_alternately(calls: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Run all calls once per round and return their median seconds.

    Args:
        calls: calls by name, in the order of a round.
        rounds: measured rounds.
        warm_up: additional rounds at the start that are not measured.

    Returns:
        Median seconds by name.
    """
    durations: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warm_up + rounds):
        for name, call in calls.items():
            durations[name].append(seconds(call))
    return {name: median(times[warm_up:]) for name, times in durations.items()}
