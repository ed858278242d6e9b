"""Local log of the values that a W&B run logs, one point (step and values) per line.

Unlike W&B's own file, this log also has the values of the last seconds before a `kill -9`.
"""

import json
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from medtune.runtime.artifact import write_text

Point = tuple[int, dict[str, float]]


class LocalLog:
    """Points of one unfinished run, for the process that resumes the run.

    The log is deleted once W&B has recorded all points. A process locks the log while it writes. Other processes
    recognize a live run by this lock.
    """

    def __init__(self, cache: Path, run_id: str) -> None:
        self.path = cache / "wandb" / "journal" / f"{run_id}.jsonl"
        self._lock = FileLock(self.path.with_suffix(".lock"))
        self._stream: IO[str] | None = None

    def open(self) -> list[Point]:
        """Return the points of earlier processes, oldest first, and open the log for `add`.

        Returns:
            The points; an empty list if another process is writing the log.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return []
        points = self._read()
        write_text(self.path, "".join(_line(*point) for point in points))  # drops a truncated last line
        self._stream = self.path.open("a", encoding="utf-8")
        return points

    def add(self, step: int, values: dict[str, float]) -> None:
        """Write one point to disk."""
        if self._stream is not None:
            self._stream.write(_line(step, values))
            self._stream.flush()

    def close(self, recorded: bool) -> None:
        """Close the log; delete it if W&B has recorded all points."""
        if self._stream is None:
            return
        self._stream.close()
        self._stream = None
        if recorded:
            self.path.unlink(missing_ok=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def is_live(self) -> bool:
        """Return True while this or another process is writing the log."""
        lock_file = Path(self._lock.lock_file)
        if self._stream is not None or not lock_file.exists():
            return self._stream is not None
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return True
        self._lock.release()
        return False

    def _read(self) -> list[Point]:
        points = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    step, values = json.loads(line)
                except ValueError:  # the process was killed while it wrote this line
                    break
                points.append((step, values))
        return points


def _line(step: int, values: dict[str, float]) -> str:
    return json.dumps([step, values]) + "\n"
