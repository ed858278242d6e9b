"""Run work through Prefect, and without it if Prefect fails."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from medtune.config.errors import InputError, RunError
from medtune.flows import environment
from medtune.flows.pipeline import log_line
from medtune.serving.one_line import first_line

log = logging.getLogger("medtune.flow")
T = TypeVar("T")


def with_prefect(name: str, cache: Path, through: Callable[[], T], without: Callable[[], T]) -> T:
    """Return what `through` returns, or what `without` returns if Prefect fails.

    Finished steps are found again, so `without` repeats no work.

    Args:
        name: of the flow run that `through` starts.
        cache: the project's cache, which holds Prefect's files.
        through: does the work as a flow run; imports Prefect itself.
        without: does the same work in this process.

    Raises:
        InputError, RunError, CommandFailed, BundleError: the work itself failed.
    """
    from medtune.registry.git_dvc import CommandError
    from medtune.serving.manifest import BundleError

    environment.configure_prefect(cache)
    try:
        from medtune.flows import server

        with server.server_connection(cache):
            try:
                return through()
            finally:
                server.wait_until_settled(name)
    except (InputError, RunError, CommandError, BundleError):
        raise
    except Exception as error:  # any Prefect failure falls back to running without it
        log.warning("Prefect failed", exc_info=True)
        log_line(f"Prefect: {first_line(error, with_type=True)}; continuing without it")
        return without()
