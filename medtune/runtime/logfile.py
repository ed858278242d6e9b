"""Log file of a run, with its messages and tracebacks."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_FILES = 20


@contextmanager
def logfile(folder: Path, name: str) -> Iterator[Path]:
    """Log to a new file within the block. Only the 20 newest files of the command remain.

    Args:
        folder: folder of the log files.
        name: name of the command, the first part of the file name.

    Yields:
        Path of the log file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob(f"{name}-*.log"))[: 1 - MAX_FILES]:
        old.unlink(missing_ok=True)
    path = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("medtune", "prefect", "prefect._internal")]
    for logger in loggers:
        logger.addHandler(handler)
    logging.raiseExceptions = False  # otherwise, errors about a stopped Prefect server flood the terminal
    logging.getLogger("medtune").setLevel(logging.INFO)
    try:
        yield path
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        with suppress(OSError):  # the disk is full, which the run has reported already
            handler.close()
