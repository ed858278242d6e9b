"""A run's points on disk as they are logged: W&B's own file keeps back the last seconds, and `kill -9` takes them."""

import json
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from medtune.runtime.artifact import write_text

Point = tuple[int, dict[str, float]]


class LocalLog:
    """The points of one unfinished run, there for the process that resumes it; gone once W&B has them on record.

    While a process writes one, it holds its lock: that is how others tell a live run from a killed one.
    """

    def __init__(self, cache: Path, run_id: str) -> None:
        self.path = cache / "wandb" / "journal" / f"{run_id}.jsonl"
        self._lock = FileLock(self.path.with_suffix(".lock"))
        self._stream: IO[str] | None = None

    def open(self) -> list[Point]:
        """What an earlier process left, oldest first; from here on `add` writes, unless another process does."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return []
        points = self._read()
        write_text(self.path, "".join(_line(*point) for point in points))  # without a last line that was cut off
        self._stream = self.path.open("a", encoding="utf-8")
        return points

    def add(self, step: int, values: dict[str, float]) -> None:
        """Puts down one point; it outlives this process."""
        if self._stream is not None:
            self._stream.write(_line(step, values))
            self._stream.flush()

    def close(self, recorded: bool) -> None:
        """Ends it, and where W&B has everything on record, removes it."""
        if self._stream is None:
            return
        self._stream.close()
        self._stream = None
        if recorded:
            self.path.unlink(missing_ok=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)

    def is_live(self) -> bool:
        """True while a process, this one or another, writes the run."""
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
                except ValueError:  # cut off as it was written
                    break
                points.append((step, values))
        return points


def _line(step: int, values: dict[str, float]) -> str:
    return json.dumps([step, values]) + "\n"
