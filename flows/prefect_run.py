"""Execution with Prefect. If Prefect fails, the work continues without it."""

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


def with_prefect(name: str, cache: Path, run_flow: Callable[[], T], run_directly: Callable[[], T]) -> T:
    """Run work as a Prefect flow. If Prefect fails, run the rest of the work directly.

    Args:
        name: name of the flow run.
        cache: cache folder of the project, which contains Prefect's files.
        run_flow: function that runs the work as a flow and imports Prefect.
        run_directly: function that does the same work without Prefect, but skips finished steps.

    Returns:
        The result of `run_flow`, or of `run_directly` if Prefect failed.

    Raises:
        InputError: the work failed because of invalid input.
        RunError: a stage failed.
        CommandError: git or dvc failed.
        BundleError: a bundle is invalid.
    """
    from medtune.registry.git_dvc import CommandError
    from medtune.serving.manifest import BundleError

    environment.configure_prefect(cache)
    try:
        from medtune.flows import server

        with server.server_connection(cache):
            try:
                return run_flow()
            finally:
                server.wait_until_settled(name)
    except (InputError, RunError, CommandError, BundleError):
        raise
    except Exception as error:  # only Prefect raises other exceptions
        log.warning("Prefect failed", exc_info=True)
        log_line(f"Prefect: {first_line(error, with_type=True)}; continuing without it")
        return run_directly()
