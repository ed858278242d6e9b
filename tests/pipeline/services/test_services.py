"""Tests of services in a copy of the checkout: start, use, kill, restart and stop, in this order."""

import os
import re
import signal
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from medtune.flows import bootstrap_server

if TYPE_CHECKING:
    from tests.pipeline.services.conftest import Services

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("services")]


def test_up__starts_services_and_creates_deployments_and_automations(services: "Services") -> None:
    printed = services.run("up")
    assert re.findall(r"^(\w+): runs", printed, re.MULTILINE) == ["server", "worker"]
    assert f"dashboard: {services.url}\n" in printed
    deployments = services.request("POST", "deployments/filter", {})
    assert {deployment["name"] for deployment in deployments} == {"nightly", "retrain", "benchmark"}
    pull_step = {
        "prefect.deployments.steps.set_working_directory": {"directory": str(services.checkout.folder.resolve())}
    }
    assert all(deployment["pull_steps"] == [pull_step] for deployment in deployments)
    assert services.request("GET", f"work_pools/{bootstrap_server.POOL}")["concurrency_limit"] == 1
    assert services.request("POST", "automations/count") == 2
    assert "does not" not in services.run("status")


def test_scheduler__creates_runs_of_the_nightly_deployment(services: "Services") -> None:
    """SQLAlchemy 2.1 with Prefect 3.8 started without an error but never created a scheduled run."""
    nightly = services.request("GET", "deployments/name/retrain/nightly")["id"]
    query = {"deployments": {"id": {"any_": [nightly]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    services.wait(lambda: services.request("POST", "flow_runs/filter", query))


def test_server_connection__uses_the_running_server(services: "Services") -> None:
    script = (
        "from medtune.runtime.paths import RunPaths; from medtune.flows import environment, server\n"
        "environment.configure_prefect(RunPaths.from_env().cache)\n"
        "with server.server_connection(RunPaths.from_env().cache):\n"
        "    import prefect.settings\n"
        "    print(prefect.settings.PREFECT_API_URL.value())"
    )
    assert services.checkout.run("python", "-c", script) == f"{services.url}/api\n"


def test_run__failure_sends_a_notification_with_a_link(services: "Services") -> None:
    run = services.start_run("fail")
    services.wait(lambda: services.webhook.received)
    assert services.state(run) == "FAILED"
    (text,) = services.webhook.received
    assert '"no" data' in text
    assert text.endswith(f"{services.url}/runs/flow-run/{run}")


def test_run__killed_run_is_marked_and_reported_by_the_worker(services: "Services") -> None:
    run = services.start_waiting_run()
    assert services.worker.pid is not None
    for process in psutil.Process(services.worker.pid).children(recursive=True):
        process.kill()
    services.wait(lambda: len(services.webhook.received) == 2)
    assert services.state(run) == "CRASHED"
    assert services.webhook.received[1].endswith(f"{services.url}/runs/flow-run/{run}")


def test_worker__killed_worker_ends_its_run(services: "Services") -> None:
    run = services.start_waiting_run()
    assert services.worker.pid is not None
    os.kill(services.worker.pid, signal.SIGKILL)
    services.wait(lambda: set(services.states()) == {"FAILED", "CRASHED"})  # including the killed run
    services.wait(lambda: len(services.webhook.received) == 3)
    assert services.webhook.received[2].endswith(f"{services.url}/runs/flow-run/{run}")


def test_up__starts_missing_services_and_keeps_schedules_paused(services: "Services") -> None:
    nightly = services.request("GET", "deployments/name/retrain/nightly")
    path = f"deployments/{nightly['id']}/schedules"
    services.request("PATCH", f"{path}/{nightly['schedules'][0]['id']}", {"active": False})
    server = services.server.pid
    printed = services.run("up")
    assert f"server: runs already (process {server})" in printed
    assert [schedule["active"] for schedule in services.request("GET", path)] == [False]
    worker = services.worker.pid
    assert f"worker: runs already (process {worker})" in services.run("up")
    assert (services.server.pid, services.worker.pid) == (server, worker)


def test_worker__next_worker_marks_the_run_of_a_worker_killed_with_its_run(services: "Services") -> None:
    run = services.start_waiting_run()
    assert services.worker.pid is not None
    worker = psutil.Process(services.worker.pid)
    for process in [worker, *worker.children(recursive=True)]:
        process.kill()
    services.wait(lambda: services.worker.pid is None)
    assert services.state(run) == "RUNNING"
    following = services.start_run()
    services.run("up")
    services.wait(lambda: services.state(following) == "COMPLETED")
    assert services.state(run) == "CRASHED"
    services.wait(lambda: set(services.states()) == {"FAILED", "CRASHED", "COMPLETED"})
    (text,) = services.webhook.received[3:]
    assert "the process has ended" in text
    assert text.endswith(f"{services.url}/runs/flow-run/{run}")


def alive(services: "Services") -> list[str]:
    """Return the command lines of the processes that run in the copy."""
    commands = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == services.checkout.folder:
                commands.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return commands


def test_down__leaves_no_process(services: "Services") -> None:
    services.start_waiting_run()
    assert len(alive(services)) == 3
    printed = services.run("down")
    assert re.findall(r"^(?:worker|server): .*$", printed, re.MULTILINE) == ["worker: stopped", "server: stopped"]
    assert printed.count("crashed, the process has ended") == 2  # the run and its subflow
    assert alive(services) == []
    with sqlite3.connect(services.checkout.folder / ".cache" / "prefect" / "prefect.db") as database:
        states = {
            state
            for kind in ("flow_run", "task_run")
            for (state,) in database.execute(f"select state_type from {kind}")
        }
    assert states - {"SCHEDULED"} == {"FAILED", "CRASHED", "COMPLETED"}


def test_serve__runs_deployments_with_a_temporary_server_until_ctrl_c(services: "Services") -> None:
    process = services.checkout.start(["python", "-m", "medtune", "services", "serve"], **services.variables)
    assert process.stdout is not None
    for line in process.stdout:
        if line == f"dashboard: {services.url}\n":
            break
    run = services.start_run()
    services.wait(lambda: services.state(run) == "COMPLETED")
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    assert printed.endswith("server: stopped\n")
    assert "Traceback" not in printed
    assert alive(services) == []
