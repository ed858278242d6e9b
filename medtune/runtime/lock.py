"""One run at a time in one output folder."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from medtune.config.errors import InputError
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths


@contextmanager
def output_lock(paths: RunPaths) -> Iterator[None]:
    """Holds `artifacts/.lock`; waits, with a line that says so, while another run has it.

    The lock ends with the process that holds it, killed or not.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = paths.out / "artifacts"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            info(f"another run is writing to {folder}: waiting for it to end")
            lock.acquire()
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
