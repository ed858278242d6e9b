"""Tests of marking a killed flow run as Crashed, without affecting waiting runs and runs in other folders."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medtune.config.project import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("sweep")]

# Holds the folder's lock like a scheduled run, and is killed during a task of its subflow.
DIES = """
import sys, time
from pathlib import Path
from uuid import UUID
from prefect import flow, task
from prefect.runtime import flow_run
from medtune.runtime.lock import output_lock
from medtune.runtime.paths import RunPaths
from medtune.flows.mark_crashed import mark_crashed

out = Path(sys.argv[1])

@task(task_run_name="finetune")
def finetune():
    (out / "training").touch()
    time.sleep(600)

@flow(flow_run_name="dies below")
def train():
    finetune()

@flow(flow_run_name="dies")
def retrain():
    with output_lock(RunPaths(out, out)):
        mark_crashed(str(out), {UUID(flow_run.get_id())})
        train()

retrain()
"""

# Starts the flow on a separate server, kills it, and prints the states after the automation and mark_crashed.
SCRIPT = """
import http.server, json, os, subprocess, sys, threading, time
from datetime import timedelta
from pathlib import Path
from medtune.flows import environment, server
from medtune.flows import mark_crashed as sweep, service_address as standing, stale_run_automation as watch

out = Path(sys.argv[1])
environment.configure_prefect(out / "cache")
told = {"alerts": []}

class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        told["alerts"].append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): ...

webhook = http.server.HTTPServer(("127.0.0.1", 0), Webhook)
threading.Thread(target=webhook.serve_forever, daemon=True).start()
os.environ["MEDTUNE_ALERT_URL"] = f"http://127.0.0.1:{webhook.server_port}"

def record(client):
    flows = {run.name: [run.state.type.value, run.state.message] for run in client.read_flow_runs()}
    tasks = {run.name: [run.state.type.value, run.state.message] for run in client.read_task_runs()}
    return {**flows, **tasks}

def is_dead(client, name):
    return record(client).get(name, [None])[0] == "CRASHED"

with server.server_connection(out / "cache"):
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    watch.ensure_automations(silent=timedelta(seconds=10))
    watch.ensure_automations(silent=timedelta(seconds=10))
    process = subprocess.Popen([sys.executable, str(out / "dies.py"), str(out)], stdout=subprocess.DEVNULL)
    standing.wait_until((out / "training").exists, lambda: process.poll() is None, 120)
    time.sleep(1)  # the last task state is being sent
    process.kill()
    process.wait()
    with get_client(sync_client=True) as client:
        told["killed"] = record(client)
        standing.wait_until(lambda: is_dead(client, "dies") and is_dead(client, "dies below"), lambda: True, 60)
        told["watched"] = record(client)
        standing.wait_until(lambda: told["alerts"], lambda: True, 30)
        told["automations"] = len(client.read_automations())

        @flow
        def retrain(): ...

        def live(name, tags=(), pool=None):
            run = client.create_flow_run(retrain, name=name, tags=tags)
            client.set_flow_run_state(run.id, Running(), force=True)
            return run.id

        live("waits for the lock")
        live("elsewhere", [sweep.tag("/elsewhere")])
        live("dead too", [sweep.tag(str(out))])
        own = live("own")
        told["names"] = sweep.mark_crashed(str(out), {own})
        told["swept"] = record(client)
        told["tags"] = client.read_flow_run(own).tags
        told["again"] = sweep.mark_crashed(str(out), {own})
        told["worker"] = sweep.mark_crashed_of_worker(client, lambda run: run.name == "waits for the lock")
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("sweep")
    (out / "dies.py").write_text(DIES)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MEDTUNE_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out)],
        cwd=PROJECT,
        env={**environment, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {"out": out, **json.loads(done.stdout.splitlines()[-1])}


def states(record: dict[str, list[str]]) -> dict[str, str]:
    return {name: state for name, (state, _) in record.items()}


def test_killed__prefect_alone_leaves_everything_running(told: dict[str, Any]) -> None:
    assert states(told["killed"]) == dict.fromkeys(("dies", "dies below", "train-0", "finetune"), "RUNNING")


def test_automation__marks_flow_runs_and_is_created_once(told: dict[str, Any]) -> None:
    assert told["automations"] == 2
    for name in ("dies", "dies below"):
        assert told["watched"][name] == ["CRASHED", "no heartbeat for 10 s: the process has ended"]


def test_automation__notifies_about_scheduled_flows(told: dict[str, Any]) -> None:
    (text,) = told["alerts"]
    assert text.startswith("MedTune: retrain run dies is Crashed.\nno heartbeat for 10 s: the process has ended\n")


def test_mark_crashed__marks_all_dead_runs(told: dict[str, Any]) -> None:
    assert told["names"] == ["dead too"]
    found = states(told["swept"])
    assert {name: found[name] for name in ("dies", "dies below", "train-0", "finetune", "dead too")} == dict.fromkeys(
        ("dies", "dies below", "train-0", "finetune", "dead too"), "CRASHED"
    )
    assert told["swept"]["finetune"][1] == "the process has ended"


def test_mark_crashed__ignores_live_runs_and_other_folders(told: dict[str, Any]) -> None:
    found = states(told["swept"])
    assert [found[name] for name in ("own", "waits for the lock", "elsewhere")] == ["RUNNING"] * 3
    assert told["tags"] == [f"out:{told['out']}"]
    assert told["again"] == []


def test_mark_crashed_of_worker__marks_the_runs_of_the_worker(told: dict[str, Any]) -> None:
    assert told["worker"] == ["waits for the lock"]


def test_mark_crashed__stopped_server_is_not_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from medtune.flows.mark_crashed import mark_crashed

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        assert mark_crashed(str(tmp_path), set()) == []
