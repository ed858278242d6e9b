"""Prefect server and worker of this project (`medtune services`).

The server stores and shows runs. The worker starts scheduled runs. `up` starts both as daemons. `server` and `worker`
run one of them in the foreground, for systemd and containers.
"""

import os
import signal
import socket
import sys
import time

from filelock import FileLock

from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.flows import environment, service_address, start_services
from medtune.flows.supervisor import Daemon
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths

POLL_S = 0.5


def up() -> None:
    """Start the server and the worker unless they run already, and deploy prefect.yaml.

    $PREFECT_SERVER_API_PORT is the port of the server (default 4200). $MEDTUNE_DATABASE is the address of its database
    (default: SQLite in .cache). If $PREFECT_API_URL is the address of another server, only the worker is started.

    Raises:
        InputError: the port is invalid or in use.
        SystemExit: the server or the worker did not start (exit code 1).
    """
    cache = RunPaths.from_env().cache
    server, worker = service_address.service_daemons(cache)
    server.folder.mkdir(parents=True, exist_ok=True)
    with start_services.report_errors(), FileLock(server.folder / ".lock"):
        url = start_services.start_server(server)
        start_services.start_worker(worker, url)
    info(f"dashboard: {url.removesuffix('/api')}")
    info(f"run now:   export PREFECT_API_URL={url}")
    info("           prefect deployment run retrain/retrain")
    info("stop:      medtune services down")


def down() -> None:
    """Stop the worker, then the server. An active run is marked as Crashed, and the next run resumes it."""
    server, worker = service_address.service_daemons(RunPaths.from_env().cache)
    _stop_worker(worker)
    _stop(server, start_services.SERVER_STOP_S)


def serve() -> None:
    """Run the services until Ctrl-C or SIGTERM. The console shows the log of the worker.

    At the end, the worker is stopped. The server is stopped too, unless it was running before.

    Raises:
        InputError: a worker runs already.
        SystemExit: a service did not start, or the worker ended (exit code 1).
    """
    server, worker = service_address.service_daemons(RunPaths.from_env().cache)
    if worker.pid:
        raise InputError(f"a worker (process {worker.pid}) runs already. Stop it with `medtune services down`")
    server_was_running = server.pid is not None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        up()
        _follow(worker)
    except KeyboardInterrupt:
        pass
    finally:
        if worker.pid:
            _stop_worker(worker)
        if server.pid and not server_was_running:
            _stop(server, start_services.SERVER_STOP_S)


def status() -> None:
    """Print the status of the services.

    Raises:
        SystemExit: exit code 0 if all services run, otherwise 1.
    """
    cache = RunPaths.from_env().cache
    url = service_address.running_address(cache)
    all_running = True
    for daemon in service_address.service_daemons(cache):
        pid = daemon.pid
        info(f"{daemon.name}: {f'runs (process {pid}), log {daemon.log}' if pid else 'does not run'}")
        all_running = all_running and pid is not None
    if url:
        answers = service_address.is_healthy(url)
        info(f"dashboard: {url.removesuffix('/api')}{'' if answers else ' does not answer'}")
        all_running = all_running and answers
    raise SystemExit(0 if all_running else 1)


def server() -> None:
    """Run the server in the foreground. The function does not return, because Prefect replaces this process.

    Raises:
        InputError: the port is invalid or in use.
    """
    service_address.check_port_free()
    host, port = service_address.bind_address()
    os.environ.setdefault("PREFECT_UI_URL", service_address.local_address().removesuffix("/api"))  # for links in alerts
    database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url} if (url := os.environ.get("MEDTUNE_DATABASE")) else {}
    _prepare()
    _exec("server", "start", "--host", host, "--port", str(port), **database)


def worker() -> None:
    """Wait for the server, deploy prefect.yaml, and run the worker in the foreground.

    The function does not return, because Prefect replaces this process.

    Raises:
        SystemExit: no server answers (exit code 1).
    """
    url = service_address.configured_address()
    if not service_address.wait_until(lambda: service_address.is_healthy(url), lambda: True, start_services.START_S):
        print(
            f"error: PREFECT_API_URL={url}: no Prefect server answers. Start it, or unset PREFECT_API_URL",
            file=sys.stderr,
        )
        raise SystemExit(1)
    os.environ["PREFECT_API_URL"] = url
    environment.configure_patience()
    _prepare()
    from medtune.flows.bootstrap_server import POOL, bootstrap

    bootstrap()
    _exec("worker", "start", "--pool", POOL, "--name", socket.gethostname(), PREFECT_API_URL=url)


def _follow(worker: Daemon) -> None:
    """Print the log of the worker until the worker ends. Then exit with code 1, because the end was not requested."""
    with start_services.report_errors(), worker.log.open() as log:
        running = True
        while running:
            running = worker.pid is not None  # read before the log, so that the last lines are printed
            print(log.read(), end="", flush=True)
            time.sleep(POLL_S)
        raise start_services.ServiceError(f"the worker exited; see {worker.log}")


def _stop_worker(worker: Daemon) -> None:
    """Stop the worker, and mark its runs as Crashed if the server answers."""
    url = worker.note  # `start_worker` stores the address of the server here
    _stop(worker, start_services.STOP_S)
    if url and service_address.is_healthy(url):
        _mark_dead(url)


def _stop(daemon: Daemon, timeout_s: float) -> None:
    info(f"{daemon.name}: {'stopped' if daemon.stop(timeout_s) else 'was not running'}")


def _mark_dead(url: str) -> None:
    """Mark the runs of the stopped worker as Crashed. A worker that stops kills its runs, but does not mark them."""
    os.environ["PREFECT_API_URL"] = url
    _prepare()
    from prefect.client.orchestration import get_client

    from medtune.flows.bootstrap_server import mark_dead_runs

    with get_client(sync_client=True) as client:
        mark_dead_runs(client, report=False)


def _prepare() -> None:
    """Set the working directory and the environment variables of this process for Prefect."""
    os.chdir(PROJECT)
    os.environ.update(environment.child_environment())
    environment.configure_prefect(RunPaths.from_env().cache, console="INFO")


def _exec(*words: str, **variables: str) -> None:
    """Replace this process by the command `prefect WORDS`, with additional environment variables."""
    os.execve(sys.executable, [sys.executable, "-m", "prefect", *words], {**os.environ, **variables})
