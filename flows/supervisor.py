"""Daemon processes: start, status and stop.

A daemon holds a lock on its pid file until it ends. Only a locked pid file counts as a running daemon, so an old pid
file is harmless.
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
    """A daemon process, running or stopped.

    Attributes:
        name: name of the daemon and its files.
        folder: folder with `<name>.pid`, `<name>.log`, and `<name>.old.log`, which is the log of the previous start.
    """

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        """Log file with the output of the daemon."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Process id, or None if the daemon does not run."""
        return int(read[0]) if (read := self._read()) else None

    @property
    def note(self) -> str | None:
        """Text that was passed to `start`, or None if the daemon does not run."""
        return read[1] if (read := self._read()) else None

    def start(self, command: Sequence[str], environment: Mapping[str, str], note: str = "") -> None:
        """Start the daemon in a new session. The daemon must not be running.

        Args:
            command: the command line.
            environment: environment variables.
            note: text to store, for example the address of a server.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".old.log"))
        with self._file.open("a") as pid_file, self.log.open("w") as log:
            fcntl.flock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[pid_file.fileno()],  # the daemon inherits the lock
            )
            pid_file.truncate(0)
            pid_file.write(f"{process.pid} {note}")

    def stop(self, timeout_s: float) -> bool:
        """Terminate the daemon and its child processes.

        Args:
            timeout_s: time in seconds after which the processes are killed.

        Returns:
            False if the daemon was not running.
        """
        if (pid := self.pid) is None:
            return False
        family = set()
        with suppress(psutil.NoSuchProcess):  # the daemon may have ended while its children still run
            process = psutil.Process(pid)
            family = {process, *process.children(recursive=True)}
            process.terminate()
        end = time.monotonic() + timeout_s
        # Child processes can start at any time, so the processes are listed again in each iteration.
        while alive := [process for process in family | _session(pid) if _is_alive(process)]:
            if time.monotonic() > end:
                for process in alive:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            family.update(alive)
            time.sleep(0.1)
        return True

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def _read(self) -> tuple[str, str] | None:
        """Return the process id and the note of the running daemon, or None if the daemon does not run."""
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
    """Return the processes in the session of `leader`, including those whose parent has ended."""
    members = set()
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader:
                members.add(process)
    return members


def _is_alive(process: psutil.Process) -> bool:
    """Return True if a process runs. A zombie counts as ended, because in a container it may remain forever."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
