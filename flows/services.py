"""`python -m flows.services up`: a standing Prefect server and a worker for this checkout, without containers.

`server` and `worker` are the two in the foreground, for systemd and containers; `up` starts them as daemons.
"""

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from config import cli
from config.cli import say
from config.registry import PROJECT
from config.settings import Paths
from flows import environment, standing
from flows.daemon import Daemon

START_S = float(os.environ.get("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS") or 180)
STOP_S = 60.0


class Failed(Exception):
    """A service did not come up; the message says which and where its log is."""


@contextmanager
def reporting() -> Iterator[None]:
    """What failed inside is one line on stderr and exit code 1."""
    try:
        yield
    except Failed as failure:
        print(f"error: {failure}", file=sys.stderr)
        raise SystemExit(1) from None


def up() -> None:
    """Start the server and the worker, each where it does not run yet, and deploy prefect.yaml.

    $PREFECT_SERVER_API_PORT is the server's port (4200), $MEDTUNE_DATABASE its database (SQLite under .cache). Where
    $PREFECT_API_URL names a server elsewhere, only the worker is started.
    """
    cache = Paths.at().cache
    server, worker = standing.daemons(cache)
    server.folder.mkdir(parents=True, exist_ok=True)
    with reporting(), FileLock(server.folder / ".lock"):
        url = start_server(server)
        _start_worker(worker, url)
    say(f"dashboard: {url.removesuffix('/api')}")
    say("run now:   prefect deployment run retrain/retrain, after")
    say(f"           export PREFECT_API_URL={url}")
    say("stop:      python -m flows.services down")


def down() -> None:
    """Stop the worker, then the server; a run that is under way ends as crashed, and the next one resumes it."""
    server, worker = standing.daemons(Paths.at().cache)
    for daemon in (worker, server):
        say(f"{daemon.name}: {'stopped' if daemon.stop(STOP_S) else 'was not running'}")


def status() -> None:
    """Say what runs, and where; exits 1 where something does not."""
    cache = Paths.at().cache
    url = standing.running(cache)
    fine = True
    for daemon in standing.daemons(cache):
        pid = daemon.pid
        say(f"{daemon.name}: {f'runs (process {pid}), log {daemon.log}' if pid else 'does not run'}")
        fine = fine and pid is not None
    if url:
        answers = standing.healthy(url)
        say(f"dashboard: {url.removesuffix('/api')}{'' if answers else ' does not answer'}")
        fine = fine and answers
    raise SystemExit(0 if fine else 1)


def server() -> None:
    """Be the server, in the foreground."""
    standing.check_free()
    host, port = standing.listening()
    os.environ.setdefault("PREFECT_UI_URL", standing.own().removesuffix("/api"))  # for links in alerts
    _become("server", "start", "--host", host, "--port", str(port), **_database())


def worker() -> None:
    """Be the worker, in the foreground: wait for the server, deploy prefect.yaml, take runs."""
    url = standing.chosen()
    if not standing.wait(lambda: standing.healthy(url), lambda: True, START_S):
        print(f"error: no Prefect server answers at {url} ($PREFECT_API_URL)", file=sys.stderr)
        raise SystemExit(1)
    os.environ["PREFECT_API_URL"] = url
    prepare()
    from flows.register import POOL, register

    register()
    _become("worker", "start", "--pool", POOL, "--name", socket.gethostname(), PREFECT_API_URL=url)


def start_server(server: Daemon) -> str:
    """API address of the server, which is started where it is ours and does not run.

    Raises:
        InputError: another program has its port.
        Failed: it does not answer.
    """
    if running := server.note:
        say(f"server: runs already (process {server.pid})")
        return running
    url = standing.chosen()
    if os.environ.get("PREFECT_API_URL") and standing.healthy(url):
        say(f"server: {url}, by PREFECT_API_URL")
        return url
    if url != standing.own():
        raise Failed(f"PREFECT_API_URL is {url}: no Prefect server answers there")
    standing.check_free()
    say("server: starting (10-60 s, longest the first time)")
    server.start([sys.executable, "-m", "flows.services", "server"], _environment(), url)
    if not standing.wait(lambda: standing.healthy(url), lambda: server.pid is not None, START_S):
        _give_up(server)
    say(f"server: runs (process {server.pid})")
    return url


def _start_worker(worker: Daemon, url: str) -> None:
    if worker.pid:
        say(f"worker: runs already (process {worker.pid})")
        return
    say("worker: starting (10-30 s)")
    started = time.time()
    worker.start([sys.executable, "-m", "flows.services", "worker"], {**_environment(), "PREFECT_API_URL": url}, url)
    if not standing.wait(lambda: _online(url, started), lambda: worker.pid is not None, START_S):
        _give_up(worker)
    say(f"worker: runs (process {worker.pid})")


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
    raise Failed(f"the {daemon.name} {'ended' if ended else f'was not ready after {START_S:.0f} s'}; log {daemon.log}")


def _environment() -> Mapping[str, str]:
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def prepare() -> None:
    """Prefect's environment for a service: as for a run, with a console that says what happens."""
    for handler in ("CONSOLE", "DEBUG"):
        os.environ.setdefault(f"PREFECT_LOGGING_HANDLERS_{handler}_LEVEL", "INFO")
    os.chdir(PROJECT)
    os.environ.update(_environment())
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment.prepare(Paths.at().cache)


def _database() -> dict[str, str]:
    url = os.environ.get("MEDTUNE_DATABASE")
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url} if url else {}


def _become(*words: str, **variables: str) -> None:
    """This process goes on as Prefect's own command line."""
    prepare()
    os.execve(sys.executable, [sys.executable, "-m", "prefect", *words], {**os.environ, **variables})


if __name__ == "__main__":
    cli.run(up, down, status, server, worker)
