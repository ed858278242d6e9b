"""A run's log file: the lines it said, and the tracebacks that the screen is spared."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_FILES = 20


@contextmanager
def logfile(folder: Path, name: str) -> Iterator[Path]:
    """A log file of this run of `name` in `folder`; the last 20 are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob(f"{name}-*.log"))[: 1 - MAX_FILES]:
        old.unlink(missing_ok=True)
    path = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("medtune", "prefect", "prefect._internal")]
    for logger in loggers:
        logger.addHandler(handler)
    logging.raiseExceptions = False  # else a Prefect server that went away is reported line by line on the screen
    logging.getLogger("medtune").setLevel(logging.INFO)
    try:
        yield path
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        with suppress(OSError):  # a full disk; what there is to say was said by the run itself
            handler.close()
