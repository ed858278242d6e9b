"""Starts the standing server and the worker as daemons, and waits until each is ready."""

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
SERVER_STOP_S = 10.0  # it may wait for ever for whoever still listens to its events; its database survives a kill


class ServiceError(Exception):
    """A service did not come up; the message says which and where its log is."""


@contextmanager
def report_errors() -> Iterator[None]:
    """What failed inside is one line on stderr and exit code 1."""
    try:
        yield
    except ServiceError as failure:
        print(f"error: {failure}", file=sys.stderr)
        raise SystemExit(1) from None


def start_server(server: Daemon) -> str:
    """API address of the server, which is started where it is ours and does not run.

    Raises:
        InputError: another program has its port.
        Failed: it does not answer.
    """
    if running := server.note:
        info(f"server: runs already (process {server.pid})")
        return running
    url = service_address.configured_address()
    if os.environ.get("PREFECT_API_URL") and service_address.is_healthy(url):
        info(f"server: {url}, by PREFECT_API_URL")
        return url
    if url != service_address.local_address():
        raise ServiceError(f"PREFECT_API_URL is {url}: no Prefect server answers there")
    service_address.check_port_free()
    info("server: starting (10-60 s, longest the first time)")
    server.start([sys.executable, "-m", "medtune", "services", "server"], environment.child_environment(), url)
    if not service_address.wait_until(lambda: service_address.is_healthy(url), lambda: server.pid is not None, START_S):
        _give_up(server)
    info(f"server: runs (process {server.pid})")
    return url


def start_worker(worker: Daemon, url: str) -> None:
    """Starts the worker for the server at `url`, where it does not run.

    Raises:
        Failed: it does not show itself to the server.
    """
    if worker.pid:
        info(f"worker: runs already (process {worker.pid})")
        return
    info("worker: starting (10-30 s)")
    started = time.time()
    worker.start(
        [sys.executable, "-m", "medtune", "services", "worker"],
        {**environment.child_environment(), "PREFECT_API_URL": url},
        url,
    )
    if not service_address.wait_until(lambda: _online(url, started), lambda: worker.pid is not None, START_S):
        _give_up(worker)
    info(f"worker: runs (process {worker.pid})")


def _online(url: str, since: float) -> bool:
    """Whether a worker of our pool has shown itself since then."""
    import httpx

    try:
        answer = httpx.post(f"{url}/work_pools/medtune/workers/filter", json={}, timeout=5)
        workers = answer.json() if answer.is_success else []
    except (httpx.HTTPError, ValueError):
        return False
    return any(datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() > since for worker in workers)


def _give_up(daemon: Daemon) -> None:
    ended = daemon.pid is None
    daemon.stop(STOP_S)
    raise ServiceError(
        f"the {daemon.name} {'ended' if ended else f'was not ready after {START_S:.0f} s'}; log {daemon.log}"
    )
