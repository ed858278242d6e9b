"""Services in a copy of the checkout, with flows that fail or wait instead of training."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from medtune.flows.supervisor import Daemon

if TYPE_CHECKING:
    from tests.pipeline.conftest import Checkout

# These flows replace the real flows. They fail, or hold the lock and wait in a task of a subflow.
SCHEDULED = """
import time
from pathlib import Path
from uuid import UUID

from prefect import flow, task
from prefect.runtime import flow_run

from medtune.runtime.lock import output_lock
from medtune.runtime.paths import RunPaths
from medtune.flows import exit_with_parent, hooks, mark_crashed


@task(task_run_name="finetune")
def finetune() -> None:
    if Path("wait").exists():
        Path("waiting").touch()
        time.sleep(3600)


@flow(flow_run_name="inner")
def train() -> None:
    finetune()


@flow(on_failure=[hooks.notify], on_crashed=[hooks.notify])
def retrain() -> str:
    exit_with_parent.exit_with_worker()
    paths = RunPaths.from_env()
    with output_lock(paths):
        mark_crashed.mark_crashed(str(paths.out), {UUID(flow_run.get_id())})
        if Path("fail").exists():
            raise ValueError('"no" data')
        train()
    return "done"


@flow(name="benchmark-scheduled", on_failure=[hooks.notify], on_crashed=[hooks.notify])
def benchmark(grid: str | None = None, sets: list[str] | None = None) -> str:
    return "done"
"""


class Webhook(HTTPServer):
    """HTTP server that stores the received messages."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Services:
    """Copy of the checkout with its services and their output."""

    def __init__(self, checkout: "Checkout", webhook: Webhook) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.checkout, self.webhook = checkout, webhook
        self.url = f"http://127.0.0.1:{port}"
        self.variables = {
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "MEDTUNE_ALERT_URL": f"http://127.0.0.1:{webhook.server_port}",
        }
        folder = checkout.folder / ".cache" / "services"
        self.server, self.worker = Daemon("server", folder), Daemon("worker", folder)

    def run(self, *arguments: str) -> str:
        return self.checkout.run("python", "-m", "medtune", "services", *arguments, **self.variables)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        response = httpx.request(method, f"{self.url}/api/{path}", json=body, timeout=90)
        while response.status_code == 503:  # SQLite was busy; Prefect's client retries too
            response = httpx.request(method, f"{self.url}/api/{path}", json=body, timeout=90)
        response.raise_for_status()
        return response.json() if response.content else None

    def start_run(self, *files: str) -> str:
        """Start a run on demand with these files in the checkout, and return its id."""
        for name in ("wait", "waiting", "fail"):
            (self.checkout.folder / name).unlink(missing_ok=True)
        for name in files:
            (self.checkout.folder / name).touch()
        deployment = self.request("GET", "deployments/name/retrain/retrain")["id"]
        return self.request("POST", f"deployments/{deployment}/create_flow_run", {})["id"]

    def wait(self, is_done: Any) -> None:
        """Wait until `is_done()` is true. On a busy machine, the server needs a minute for some requests."""
        deadline = time.monotonic() + 300
        while not is_done():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)

    def logs(self) -> str:
        return "\n".join(daemon.log.read_text() for daemon in (self.server, self.worker) if daemon.log.exists())

    def start_waiting_run(self) -> str:
        """Start a run that waits in its task, wait until it does, and return its id."""
        run = self.start_run("wait")
        waiting = self.checkout.folder / "waiting"
        self.wait(lambda: waiting.exists() or self.state(run) not in ("SCHEDULED", "PENDING", "RUNNING"))
        assert waiting.exists(), self.request("GET", f"flow_runs/{run}")["state"]
        return run

    def states(self) -> list[str]:
        """Return the states of all started flow runs and of their task runs."""
        kinds = ("flow_runs", "task_runs")
        states = [run["state_type"] for kind in kinds for run in self.request("POST", f"{kind}/filter", {})]
        return [state for state in states if state != "SCHEDULED"]

    def state(self, run: str) -> str:
        return self.request("GET", f"flow_runs/{run}")["state_type"]


@pytest.fixture(scope="module")
def services(checkout: "Checkout") -> Iterator[Services]:
    (checkout.folder / "flows" / "scheduled.py").write_text(SCHEDULED)
    webhook = Webhook()
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    services = Services(checkout, webhook)
    yield services
    services.worker.stop(5)
    services.server.stop(5)
    webhook.shutdown()
