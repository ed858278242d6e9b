"""Two or more ways of doing the same, timed in turns: what disturbs the machine disturbs them alike."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each call, one of each a round.

    Args:
        calls: by name, in the order of a round.
        rounds: that count.
        warm_up: rounds before them, which do not.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warm_up + rounds):
        for name, call in calls.items():
            taken[name].append(seconds(call))
    return {name: median(times[warm_up:]) for name, times in taken.items()}
