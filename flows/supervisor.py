"""A process that outlives its terminal: started, found again, stopped.

It holds a lock on its pid file that ends with it, however it ends: a number that another process has by now, or a
file that a crash left behind, is never taken for it.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from medtune.config.project import PROJECT


@dataclass(frozen=True)
class Daemon:
    """One such process.

    Attributes:
        name: of its files.
        folder: where `<name>.pid` and `<name>.log` lie; `<name>.old.log` is the log of the start before.
    """

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return int(read[0]) if (read := self._read()) else None

    @property
    def note(self) -> str | None:
        """What was noted at its start, while it runs."""
        return read[1] if (read := self._read()) else None

    def start(self, command: Sequence[str], environment: Mapping[str, str], note: str = "") -> None:
        """Starts it in a session of its own, in the checkout; it must not be running."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".old.log"))
        with self._file.open("a") as held, self.log.open("w") as log:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[held.fileno()],  # which keeps the lock after this process let go of it
            )
            held.truncate(0)
            held.write(f"{process.pid} {note}")

    def stop(self, timeout_s: float) -> bool:
        """Asks it to end, and ends it and all it started where they have not after `timeout_s` seconds.

        Returns:
            False where it did not run.
        """
        if (pid := self.pid) is None:
            return False
        family = set()
        with suppress(psutil.NoSuchProcess):  # where only what it started still runs
            process = psutil.Process(pid)
            family = {process, *process.children(recursive=True)}
            process.terminate()
        end = time.monotonic() + timeout_s
        # A process can start another one at any time, so the family is looked up again in each round.
        while alive := [each for each in family | _session(pid) if _is_alive(each)]:
            if time.monotonic() > end:
                for each in alive:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
            family.update(alive)
            time.sleep(0.1)
        return True

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def _read(self) -> tuple[str, str] | None:
        try:
            with self._file.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    pid, _, note = file.read().partition(" ")
                    return pid, note
        except FileNotFoundError:
            pass
        return None


def _session(leader: int) -> set[psutil.Process]:
    """The processes of the session that `leader` started, including those whose parent has ended."""
    members = set()
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader:
                members.add(process)
    return members


def _is_alive(process: psutil.Process) -> bool:
    """False also for one that ended and was not collected, which in a container nobody may do."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
