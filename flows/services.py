"""The Prefect server and worker of this project, without containers: `medtune services`.

`server` and `worker` are the two in the foreground, for systemd and containers; `up` starts them as daemons.
"""

import os
import socket
import sys

from filelock import FileLock

from medtune.config.project import PROJECT
from medtune.flows import environment, service_address, start_services
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths


def up() -> None:
    """Start the server and the worker, each where it does not run yet, and deploy prefect.yaml.

    $PREFECT_SERVER_API_PORT is the server's port (4200), $MEDTUNE_DATABASE its database (SQLite under .cache). Where
    $PREFECT_API_URL names a server elsewhere, only the worker is started.
    """
    cache = RunPaths.from_env().cache
    server, worker = service_address.service_daemons(cache)
    server.folder.mkdir(parents=True, exist_ok=True)
    with start_services.report_errors(), FileLock(server.folder / ".lock"):
        url = start_services.start_server(server)
        start_services.start_worker(worker, url)
    info(f"dashboard: {url.removesuffix('/api')}")
    info("run now:   prefect deployment run retrain/retrain, after")
    info(f"           export PREFECT_API_URL={url}")
    info("stop:      medtune services down")


def down() -> None:
    """Stop the worker, then the server; a run that is under way ends as crashed, and the next one resumes it."""
    server, worker = service_address.service_daemons(RunPaths.from_env().cache)
    url = worker.note
    info(f"worker: {'stopped' if worker.stop(start_services.STOP_S) else 'was not running'}")
    if url and service_address.is_healthy(url):
        _mark_dead(url)
    info(f"server: {'stopped' if server.stop(start_services.SERVER_STOP_S) else 'was not running'}")


def status() -> None:
    """Say what runs, and where; exits 1 where something does not."""
    cache = RunPaths.from_env().cache
    url = service_address.running_address(cache)
    fine = True
    for daemon in service_address.service_daemons(cache):
        pid = daemon.pid
        info(f"{daemon.name}: {f'runs (process {pid}), log {daemon.log}' if pid else 'does not run'}")
        fine = fine and pid is not None
    if url:
        answers = service_address.is_healthy(url)
        info(f"dashboard: {url.removesuffix('/api')}{'' if answers else ' does not answer'}")
        fine = fine and answers
    raise SystemExit(0 if fine else 1)


def server() -> None:
    """Be the server, in the foreground."""
    service_address.check_port_free()
    host, port = service_address.bind_address()
    os.environ.setdefault("PREFECT_UI_URL", service_address.local_address().removesuffix("/api"))  # for links in alerts
    database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url} if (url := os.environ.get("MEDTUNE_DATABASE")) else {}
    _prepare()
    _exec("server", "start", "--host", host, "--port", str(port), **database)


def worker() -> None:
    """Be the worker, in the foreground: wait for the server, deploy prefect.yaml, take runs."""
    url = service_address.configured_address()
    if not service_address.wait_until(lambda: service_address.is_healthy(url), lambda: True, start_services.START_S):
        print(f"error: no Prefect server answers at {url} ($PREFECT_API_URL)", file=sys.stderr)
        raise SystemExit(1)
    os.environ["PREFECT_API_URL"] = url
    _prepare()
    from medtune.flows.bootstrap_server import POOL, bootstrap

    bootstrap()
    _exec("worker", "start", "--pool", POOL, "--name", socket.gethostname(), PREFECT_API_URL=url)


def _mark_dead(url: str) -> None:
    """A worker that is stopped kills its run, and says so to nobody."""
    os.environ["PREFECT_API_URL"] = url
    _prepare()
    from prefect.client.orchestration import get_client

    from medtune.flows.bootstrap_server import mark_dead_runs

    with get_client(sync_client=True) as client:
        mark_dead_runs(client, report=False)


def _prepare() -> None:
    os.chdir(PROJECT)
    os.environ.update(environment.child_environment())
    environment.configure_prefect(RunPaths.from_env().cache, console="INFO")


def _exec(*words: str, **variables: str) -> None:
    """This process goes on as Prefect's own command line."""
    os.execve(sys.executable, [sys.executable, "-m", "prefect", *words], {**os.environ, **variables})
