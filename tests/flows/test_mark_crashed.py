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

# This flow holds the folder's lock like a scheduled run and is killed during a task of its subflow.
FLOW_SCRIPT = """
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

@flow(flow_run_name="subflow dies")
def train():
    finetune()

@flow(flow_run_name="dies")
def retrain():
    with output_lock(RunPaths(out, out)):
        mark_crashed(str(out), {UUID(flow_run.get_id())})
        train()

retrain()
"""

# This script starts the flow on a separate server and kills it.
# It prints the states after the automation and after mark_crashed.
SCRIPT = """
import http.server, json, os, subprocess, sys, threading, time
from datetime import timedelta
from pathlib import Path
from medtune.flows import environment, server
from medtune.flows import mark_crashed, service_address, stale_run_automation

out = Path(sys.argv[1])
environment.configure_prefect(out / "cache")
report = {"alerts": []}

class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        report["alerts"].append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
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

    stale_run_automation.ensure_automations(silent=timedelta(seconds=10))
    stale_run_automation.ensure_automations(silent=timedelta(seconds=10))
    process = subprocess.Popen([sys.executable, str(out / "dies.py"), str(out)], stdout=subprocess.DEVNULL)
    service_address.wait_until((out / "training").exists, lambda: process.poll() is None, 120)
    time.sleep(1)  # the last task state is being sent
    process.kill()
    process.wait()
    with get_client(sync_client=True) as client:
        report["killed"] = record(client)
        dead = lambda: is_dead(client, "dies") and is_dead(client, "subflow dies")
        service_address.wait_until(dead, lambda: True, 60)
        report["after_automation"] = record(client)
        service_address.wait_until(lambda: report["alerts"], lambda: True, 30)
        report["automations"] = len(client.read_automations())

        @flow
        def retrain(): ...

        def running_flow(name, tags=(), pool=None):
            run = client.create_flow_run(retrain, name=name, tags=tags)
            client.set_flow_run_state(run.id, Running(), force=True)
            return run.id

        running_flow("waits for the lock")
        running_flow("elsewhere", [mark_crashed.tag("/elsewhere")])
        running_flow("other dead run", [mark_crashed.tag(str(out))])
        current = running_flow("current")
        report["names"] = mark_crashed.mark_crashed(str(out), {current})
        report["marked"] = record(client)
        report["tags"] = client.read_flow_run(current).tags
        report["second_call"] = mark_crashed.mark_crashed(str(out), {current})
        report["worker"] = mark_crashed.mark_crashed_of_worker(client, lambda run: run.name == "waits for the lock")
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("sweep")
    (out / "dies.py").write_text(FLOW_SCRIPT)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MEDTUNE_"))}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out)],
        cwd=PROJECT,
        env={**environment, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return {"out": out, **json.loads(process.stdout.splitlines()[-1])}


def states(states_and_messages: dict[str, list[str]]) -> dict[str, str]:
    return {name: state for name, (state, _) in states_and_messages.items()}


def test_killed__prefect_alone_leaves_all_states_running(report: dict[str, Any]) -> None:
    assert states(report["killed"]) == dict.fromkeys(("dies", "subflow dies", "train-0", "finetune"), "RUNNING")


def test_automation__marks_flow_runs_and_is_created_once(report: dict[str, Any]) -> None:
    assert report["automations"] == 2
    for name in ("dies", "subflow dies"):
        assert report["after_automation"][name] == ["CRASHED", "no heartbeat for 10 s: the process has ended"]


def test_automation__notifies_about_scheduled_flows(report: dict[str, Any]) -> None:
    (text,) = report["alerts"]
    assert text.startswith("MedTune: retrain run dies is Crashed.\nno heartbeat for 10 s: the process has ended\n")


def test_mark_crashed__marks_all_dead_runs(report: dict[str, Any]) -> None:
    assert report["names"] == ["other dead run"]
    state_by_run = states(report["marked"])
    dead = ("dies", "subflow dies", "train-0", "finetune", "other dead run")
    assert {name: state_by_run[name] for name in dead} == dict.fromkeys(dead, "CRASHED")
    assert report["marked"]["finetune"][1] == "the process has ended"


def test_mark_crashed__ignores_live_runs_and_other_folders(report: dict[str, Any]) -> None:
    state_by_run = states(report["marked"])
    assert [state_by_run[name] for name in ("current", "waits for the lock", "elsewhere")] == ["RUNNING"] * 3
    assert report["tags"] == [f"out:{report['out']}"]
    assert report["second_call"] == []


def test_mark_crashed_of_worker__marks_the_runs_of_the_worker(report: dict[str, Any]) -> None:
    assert report["worker"] == ["waits for the lock"]


def test_mark_crashed__stopped_server_is_not_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from medtune.flows.mark_crashed import mark_crashed

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        assert mark_crashed(str(tmp_path), set()) == []
