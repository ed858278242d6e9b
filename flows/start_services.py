"""Start of the server and the worker as daemons."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from medtune.flows import environment, service_address
from medtune.flows.supervisor import Daemon
from medtune.runtime.console import info

START_S = float(os.environ.get("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS") or 180)
STOP_S = 60.0
SERVER_STOP_S = 10.0  # the server may wait indefinitely for clients; its database survives a kill


class ServiceError(Exception):
    """Failed start of a service. The message names the service and its log."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Convert a ServiceError to one line on stderr and exit code 1."""
    try:
        yield
    except ServiceError as failure:
        print(f"error: {failure}", file=sys.stderr)
        raise SystemExit(1) from None


def start_server(server: Daemon) -> str:
    """Start the server, unless it runs already or PREFECT_API_URL is the address of another server.

    Args:
        server: daemon of the server.

    Returns:
        API address of the server that is used.

    Raises:
        InputError: the port is invalid, or another program uses it.
        ServiceError: the server does not answer.
    """
    if running := server.note:
        info(f"server: runs already (process {server.pid})")
        return running
    url = service_address.configured_address()
    if os.environ.get("PREFECT_API_URL") and service_address.is_healthy(url):
        info(f"server: {url} (PREFECT_API_URL)")
        return url
    if url != service_address.local_address():
        raise ServiceError(f"PREFECT_API_URL={url}: no Prefect server answers. Start it, or unset PREFECT_API_URL")
    service_address.check_port_free()
    info("server: starting (10-60 s; the first start takes longest)")
    server.start([sys.executable, "-m", "medtune", "services", "server"], environment.child_environment(), url)
    if not service_address.wait_until(lambda: service_address.is_healthy(url), lambda: server.pid is not None, START_S):
        _give_up(server)
    info(f"server: runs (process {server.pid})")
    return url


def start_worker(worker: Daemon, url: str) -> None:
    """Start the worker unless it runs already.

    Args:
        worker: daemon of the worker.
        url: API address of the server.

    Raises:
        ServiceError: the worker does not connect to the server.
    """
    if worker.pid:
        info(f"worker: runs already (process {worker.pid})")
        return
    info("worker: starting (10-30 s)")
    start_time = time.time()
    worker.start(
        [sys.executable, "-m", "medtune", "services", "worker"],
        {**environment.child_environment(), "PREFECT_API_URL": url},
        url,
    )
    if not service_address.wait_until(lambda: _is_online(url, start_time), lambda: worker.pid is not None, START_S):
        _give_up(worker)
    info(f"worker: runs (process {worker.pid})")


def _is_online(url: str, since: float) -> bool:
    """Return True if a worker of the pool has sent a heartbeat after `since`, in seconds since 1970."""
    import httpx

    try:
        response = httpx.post(f"{url}/work_pools/medtune/workers/filter", json={}, timeout=5)
        workers = response.json() if response.is_success else []
    except (httpx.HTTPError, ValueError):
        return False
    return any(datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() > since for worker in workers)


def _give_up(daemon: Daemon) -> None:
    """Stop a daemon that did not become ready, and raise ServiceError."""
    exited = daemon.pid is None
    daemon.stop(STOP_S)
    raise ServiceError(
        f"the {daemon.name} {'exited' if exited else f'was not ready after {START_S:.0f} s'}; see {daemon.log}"
    )
