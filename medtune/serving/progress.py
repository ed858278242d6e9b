"""Progress messages on stderr. Stdout is reserved for results."""

import sys
import time
from collections.abc import Callable

INTERVAL_S = 15.0


class ProgressLog:
    """Counter that prints the number of finished images, the rate and the remaining time, every 15 s by default.

    Attributes:
        done: number of finished images.
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
        self._start = self._last_message = clock()

    def advance(self) -> None:
        """Count one more image."""
        self.done += 1
        now = self._clock()
        if now - self._last_message >= self._every:
            self._last_message = now
            rate = self.done / (now - self._start)
            left = (self._total - self.done) / rate
            unit = self._unit
            print(f"{self.done:,} of {self._total:,} {unit}, {rate:,.1f} {unit}/s, {_clock_time(left)} left",
                  file=sys.stderr, flush=True)  # fmt: skip

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start


def _clock_time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
