"""Connection of a flow run to a Prefect server, and a temporary server if no other server runs.

The temporary server is the process `python -m medtune.flows.server`. It replaces Prefect's own temporary server, which
continues to run after its parent was killed, prints messages to the console, and may lose the last task states.
"""

import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medtune.config.project import PROJECT
from medtune.flows import environment, service_address
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths

log = logging.getLogger("medtune.flow")

START_TIMEOUT_S = float(os.environ.get("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS") or 180)
SETTLE_TIMEOUT_S = 10.0
_server_lost = False  # True after the server stopped before it had stored all states of the flow run


class ServerUnavailable(Exception):
    """No Prefect server answers. The message contains the reason."""


@contextmanager
def server_connection(cache: Path) -> Iterator[None]:
    """Connect Prefect to a running server for the duration of the block.

    Uses the server of PREFECT_API_URL, otherwise the server of this project (flows/services.py), otherwise a temporary
    server.

    Args:
        cache: cache folder of the project.

    Raises:
        ServerUnavailable: the server does not answer, or the temporary server did not start.
    """
    import prefect.settings

    if url := prefect.settings.PREFECT_API_URL.value():
        _require_answer(url)
        yield
        return
    if url := service_address.running_address(cache):
        _require_answer(url)
        with _api_url(url):
            yield
        return
    log = cache / "prefect" / "server.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "medtune.flows.server"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            start_new_session=True,  # Ctrl-C must stop only the flow, which then stops the server
        )
    try:
        with _api_url(_address(process, log)):
            yield
    finally:
        _stop(process)


@contextmanager
def _api_url(url: str) -> Iterator[None]:
    """Set PREFECT_API_URL to `url` in the block."""
    from prefect.context import refresh_global_settings_context

    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()
    try:
        yield
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        refresh_global_settings_context()


def is_alive() -> bool:
    """Return True if the server of PREFECT_API_URL answers. Otherwise, every request would wait for a timeout."""
    import prefect.settings

    try:
        _require_answer(prefect.settings.PREFECT_API_URL.value() or "")
    except ServerUnavailable:
        return False
    return True


def wait_until_settled(flow_run_name: str) -> None:
    """Wait until the server has stored all task states and log messages of a finished flow run.

    Each of these waits ends after 10 s. A failure is only logged.

    Args:
        flow_run_name: name of the flow run.
    """
    import prefect.settings
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    try:
        _require_answer(prefect.settings.PREFECT_API_URL.value() or "")
        EventsWorker.drain_all(timeout=SETTLE_TIMEOUT_S)
        APILogWorker.drain_all(timeout=SETTLE_TIMEOUT_S)
        end = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < end and not _is_settled(flow_run_name):
            time.sleep(0.1)
    except Exception:  # the run itself has finished, so the error is not raised
        global _server_lost
        _server_lost = True
        log.warning("the Prefect server stopped before it had stored all states and logs of the run", exc_info=True)


def exit_without_server(code: int) -> None:
    """Exit immediately with `code` if the server has stopped. Otherwise, do nothing.

    A normal exit would take minutes, because Prefect's threads wait for the server.
    """
    if _server_lost:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _is_settled(flow_run_name: str) -> bool:
    """Return True if the server has a final state for each task of a flow run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
    from prefect.client.schemas.sorting import TaskRunSort

    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(
            flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[flow_run_name])),
            sort=TaskRunSort.ID_DESC,
            limit=200,
        )
    return bool(runs) and all(run.state is not None and run.state.is_final() for run in runs)


def _require_answer(url: str) -> None:
    """Raise ServerUnavailable if no server answers at `url` within 10 s."""
    import httpx

    try:
        response = httpx.get(f"{url.rstrip('/')}/health", timeout=10)
    except httpx.HTTPError as error:
        raise ServerUnavailable(f"PREFECT_API_URL={url}: no Prefect server answers ({error})") from error
    if response.status_code >= 500:
        raise ServerUnavailable(f"PREFECT_API_URL={url}: the server answers with status {response.status_code}")


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Return the API address of the temporary server, which the server prints when it is ready.

    Raises:
        ServerUnavailable: the server exited or was not ready in time.
    """
    info("starting a Prefect server for this run (10-30 s)")
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    line = process.stdout.readline().decode().strip() if ready else ""
    if not line:
        reason = "exited" if ready else f"did not answer within {START_TIMEOUT_S:.0f} s"
        raise ServerUnavailable(f"the Prefect server {reason}; see {log}")
    return line


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Stop the temporary server."""
    assert process.stdin is not None
    process.stdin.close()  # the server exits at the end of its stdin
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Run the server until the end of stdin. Print the API address to stdout when the server is ready."""
    environment.configure_prefect(RunPaths.from_env().cache)
    import uvicorn
    from filelock import FileLock
    from prefect.server.api.server import create_app

    listening = socket.create_server(("127.0.0.1", 0))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            # Two servers must not create the database at the same time.
            with FileLock(Path(os.environ["PREFECT_HOME"]) / ".starting.lock"):
                await super().startup(sockets)
            print(f"http://127.0.0.1:{listening.getsockname()[1]}/api", flush=True)

    server = Server(uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error"))

    def end_with_parent() -> None:
        sys.stdin.read()
        os._exit(0)  # the parent has waited until all states are stored; a regular shutdown would take 3 s more

    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
