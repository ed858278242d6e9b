"""A Prefect server for the length of one flow, where none stands; `python -m medtune.flows.server` is that process.

Prefect can start one itself, but that one outlives a killed parent, prints its shutdown errors on the
user's screen, and loses the last second of task states. This one ends with its parent, writes to
server.log, and is stopped only when every task state is on record.
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
_gone = False  # the server went before a run's record was complete


class ServerUnavailable(Exception):
    """No Prefect server answers; the message says why."""


@contextmanager
def server_connection(cache: Path) -> Iterator[None]:
    """Prefect's settings point at a server that answers while the block runs.

    It is the one that PREFECT_API_URL names, else the standing one of this checkout (flows/services.py), else one
    started for the block.

    Raises:
        ServerUnavailable: that server does not answer, or ours did not start.
    """
    import prefect.settings

    if url := prefect.settings.PREFECT_API_URL.value():
        _check(url)
        yield
        return
    if url := service_address.running_address(cache):
        _check(url)
        with _using(url):
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
            start_new_session=True,  # Ctrl-C is for the flow; the server goes when the flow is done with it
        )
    try:
        with _using(_address(process, log)):
            yield
    finally:
        _stop(process)


@contextmanager
def _using(url: str) -> Iterator[None]:
    from prefect.context import refresh_global_settings_context

    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()
    try:
        yield
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        refresh_global_settings_context()


def is_alive() -> bool:
    """Whether the server of this run still does; asked before several requests that would each wait for it."""
    import prefect.settings

    try:
        _check(prefect.settings.PREFECT_API_URL.value() or "")
    except ServerUnavailable:
        return False
    return True


def wait_until_settled(flow_run_name: str) -> None:
    """Waits, 10 s at most, until the server has every task state and log line of a flow run that ended."""
    import prefect.settings
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    try:
        _check(prefect.settings.PREFECT_API_URL.value() or "")
        EventsWorker.drain_all(timeout=SETTLE_TIMEOUT_S)
        APILogWorker.drain_all(timeout=SETTLE_TIMEOUT_S)
        end = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < end and not _is_settled(flow_run_name):
            time.sleep(0.1)
    except Exception:  # the run is over; what its record lacks is no reason to fail it
        global _gone
        _gone = True
        log.warning("the Prefect server went before the record was complete", exc_info=True)


def exit_without_server(code: int) -> None:
    """Ends this process at once where its server went: Prefect's threads would first wait for it, for minutes."""
    if _gone:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _is_settled(flow_run_name: str) -> bool:
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


def _check(url: str) -> None:
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=10)
    except httpx.HTTPError as error:
        raise ServerUnavailable(f"PREFECT_API_URL {url}: {error}") from error
    if answer.status_code >= 500:
        raise ServerUnavailable(f"PREFECT_API_URL {url} answers {answer.status_code}")


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The API address that our server prints once it is up."""
    info("starting a Prefect server for this run (10-30 s)")
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    line = process.stdout.readline().decode().strip() if ready else ""
    if not line:
        reason = "ended" if ready else f"did not answer within {START_TIMEOUT_S:.0f} s"
        raise ServerUnavailable(f"the Prefect server {reason}; its log is {log}")
    return line


def _stop(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    process.stdin.close()  # the server ends when its input does
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Serves until stdin ends; prints the API address on stdout once requests are answered."""
    environment.configure_prefect(RunPaths.from_env().cache)
    import uvicorn
    from filelock import FileLock
    from prefect.server.api.server import create_app

    listening = socket.create_server(("127.0.0.1", 0))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            # Two servers that create one database at once would undo each other.
            with FileLock(Path(os.environ["PREFECT_HOME"]) / ".starting.lock"):
                await super().startup(sockets)
            print(f"http://127.0.0.1:{listening.getsockname()[1]}/api", flush=True)

    server = Server(uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error"))

    def end_with_parent() -> None:
        sys.stdin.read()
        os._exit(0)  # the parent waited for what it wants kept; an orderly shutdown would keep it waiting 3 s more

    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
