"""A line now and then about long work, on stderr: stdout is for results."""

import sys
import time
from collections.abc import Callable

INTERVAL_S = 15.0


class ProgressLog:
    """Counts images, and says every quarter of a minute how many are done, how fast, and what is left.

    Attributes:
        done: images so far.
    """

    def __init__(
        self,
        total: int,
        every: float = INTERVAL_S,
        clock: Callable[[], float] = time.perf_counter,
        unit: str = "images",
    ) -> None:
        self.done = 0
        self._total, self._every, self._clock, self._unit = total, every, clock, unit
        self._start = self._said = clock()

    def advance(self) -> None:
        """One more image is done."""
        self.done += 1
        now = self._clock()
        if now - self._said >= self._every:
            self._said = now
            rate = self.done / (now - self._start)
            left = (self._total - self.done) / rate
            unit = self._unit
            print(f"{self.done:,} of {self._total:,} {unit}, {rate:,.1f} {unit}/s, {_clock_time(left)} left",
                  file=sys.stderr, flush=True)  # fmt: skip

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._start


def _clock_time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
