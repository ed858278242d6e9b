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

# Replacements for the real flows, which fail, or hold the lock and wait in a task of a subflow.
SCHEDULED = """
import time
from pathlib import Path
from uuid import UUID

from prefect import flow, task
from prefect.runtime import flow_run

from medtune.runtime.lock import output_lock
from medtune.runtime.paths import RunPaths
from medtune.flows import hooks as alert, exit_with_parent as orphan, mark_crashed as sweep


@task(task_run_name="finetune")
def finetune() -> None:
    if Path("wait").exists():
        Path("waiting").touch()
        time.sleep(300)


@flow(flow_run_name="inner")
def train() -> None:
    finetune()


@flow(on_failure=[alert.notify], on_crashed=[alert.notify])
def retrain() -> str:
    orphan.exit_with_worker()
    paths = RunPaths.from_env()
    with output_lock(paths):
        sweep.mark_crashed(str(paths.out), {UUID(flow_run.get_id())})
        if Path("fail").exists():
            raise ValueError('"no" data')
        train()
    return "done"


@flow(name="benchmark-scheduled", on_failure=[alert.notify], on_crashed=[alert.notify])
def benchmark(grid: str | None = None, sets: list[str] | None = None) -> str:
    return "done"
"""


class Webhook(HTTPServer):
    """HTTP handler that stores the received messages."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Standing:
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

    def run(self, *words: str) -> str:
        return self.checkout.run("python", "-m", "medtune", "services", *words, **self.variables)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(method, f"{self.url}/api/{path}", json=body, timeout=90)
        while answer.status_code == 503:  # SQLite was busy; Prefect's client retries too
            answer = httpx.request(method, f"{self.url}/api/{path}", json=body, timeout=90)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def start_run(self, *files: str) -> str:
        """Start a run on demand with these files in the checkout, and return its id."""
        for name in ("wait", "waiting", "fail"):
            (self.checkout.folder / name).unlink(missing_ok=True)
        for name in files:
            (self.checkout.folder / name).touch()
        deployment = self.ask("GET", "deployments/name/retrain/retrain")["id"]
        return self.ask("POST", f"deployments/{deployment}/create_flow_run", {})["id"]

    def wait(self, done: Any, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, self.worker.log.read_text() if self.worker.log.exists() else ""
            time.sleep(0.2)

    def waiting(self) -> bool:
        return (self.checkout.folder / "waiting").exists()

    def states(self) -> list[str]:
        """Return the states of all started flow runs and of their task runs."""
        kinds = ("flow_runs", "task_runs")
        found = [run["state_type"] for kind in kinds for run in self.ask("POST", f"{kind}/filter", {})]
        return [state for state in found if state != "SCHEDULED"]

    def state(self, run: str) -> str:
        return self.ask("GET", f"flow_runs/{run}")["state_type"]


@pytest.fixture(scope="module")
def standing(checkout: "Checkout") -> Iterator[Standing]:
    (checkout.folder / "flows" / "scheduled.py").write_text(SCHEDULED)
    webhook = Webhook()
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    made = Standing(checkout, webhook)
    yield made
    made.worker.stop(5)
    made.server.stop(5)
    webhook.shutdown()
