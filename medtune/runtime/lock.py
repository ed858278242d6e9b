"""Lock that allows one run at a time per output folder."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from medtune.config.errors import InputError
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths


@contextmanager
def output_lock(paths: RunPaths) -> Iterator[None]:
    """Hold the lock `artifacts/.lock` within the block. Print a message and wait while another run holds the lock.

    The operating system releases the lock when the process ends, also if it is killed.

    Args:
        paths: paths of the run.

    Yields:
        None, as soon as this process holds the lock.

    Raises:
        InputError: the folder is not writable.
    """
    folder = paths.out / "artifacts"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            info(f"waiting for another run that writes to {folder}")
            lock.acquire()
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{folder}: cannot be written ({reason}). Free disk space or fix permissions") from error
    try:
        yield
    finally:
        lock.release()
