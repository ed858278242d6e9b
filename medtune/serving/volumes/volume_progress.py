"""Progress of the segmentation of several volumes on stderr: a bar on a terminal, otherwise a line every 15 s."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

INTERVAL_S = 15.0
REDRAW_S = 0.2
_WIDTH = 30


class VolumeProgress:
    """Progress of several volumes, and of the windows of the current volume."""

    def __init__(
        self,
        total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.perf_counter,
        item: str = "volume",
    ) -> None:
        self._total, self._stream, self._clock = total, stream or sys.stderr, clock
        self._bar = self._stream.isatty()
        self._item = item
        self._number, self._name, self._drawn = 0, "", False
        self._last = clock()

    def start(self, name: str) -> None:
        """Begin the next volume.

        Args:
            name: name of the volume in the output.
        """
        self._number += 1
        self._name = name

    def update(self, done: int, windows: int) -> None:
        """Show the progress of the current volume, unless it was shown a short time ago.

        Args:
            done: number of finished windows.
            windows: number of all windows of the volume.
        """
        now = self._clock()
        if now - self._last < (REDRAW_S if self._bar else INTERVAL_S) and not (self._bar and done == windows):
            return
        self._last = now
        place = f"{self._item} {self._number:,} of {self._total:,}, {self._name}"
        if self._bar:
            filled = _WIDTH * done // windows
            self._stream.write(
                f"\r\x1b[K[{'#' * filled}{'.' * (_WIDTH - filled)}] {done:,}/{windows:,} windows, {place}"
            )
            self._drawn = True
        else:
            self._stream.write(f"{place}: {done:,} of {windows:,} windows\n")
        self._stream.flush()

    def clear(self) -> None:
        """Remove the bar, so that another line can be printed."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False
