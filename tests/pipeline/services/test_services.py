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
    from tests.pipeline.services.conftest import Standing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("services")]


def test_up__server_worker_deployments_automations(standing: "Standing") -> None:
    printed = standing.run("up")
    assert re.findall(r"^(\w+): runs", printed, re.MULTILINE) == ["server", "worker"]
    assert f"dashboard: {standing.url}\n" in printed
    deployments = standing.ask("POST", "deployments/filter", {})
    assert {each["name"] for each in deployments} == {"nightly", "retrain", "benchmark"}
    place = {"prefect.deployments.steps.set_working_directory": {"directory": str(standing.checkout.folder.resolve())}}
    assert all(each["pull_steps"] == [place] for each in deployments)
    assert standing.ask("GET", f"work_pools/{bootstrap_server.POOL}")["concurrency_limit"] == 1
    assert standing.ask("POST", "automations/count") == 2
    assert "does not" not in standing.run("status")


def test_scheduler__creates_runs_of_the_nightly_deployment(standing: "Standing") -> None:
    """SQLAlchemy 2.1 with Prefect 3.8 started without an error but never created a scheduled run."""
    nightly = standing.ask("GET", "deployments/name/retrain/nightly")["id"]
    query = {"deployments": {"id": {"any_": [nightly]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    standing.wait(lambda: standing.ask("POST", "flow_runs/filter", query))


def test_server_connection__uses_the_running_server(standing: "Standing") -> None:
    script = (
        "from medtune.runtime.paths import RunPaths; from medtune.flows import environment, server\n"
        "environment.configure_prefect(RunPaths.from_env().cache)\n"
        "with server.server_connection(RunPaths.from_env().cache):\n"
        "    import prefect.settings\n"
        "    print(prefect.settings.PREFECT_API_URL.value())"
    )
    assert standing.checkout.run("python", "-c", script) == f"{standing.url}/api\n"


def test_run__failure_sends_a_notification_with_a_link(standing: "Standing") -> None:
    run = standing.start_run("fail")
    standing.wait(lambda: standing.webhook.got)
    assert standing.state(run) == "FAILED"
    (text,) = standing.webhook.got
    assert '"no" data' in text
    assert text.endswith(f"{standing.url}/runs/flow-run/{run}")


def test_run__killed_run_is_marked_and_reported_by_the_worker(standing: "Standing") -> None:
    run = standing.start_run("wait")
    standing.wait(standing.waiting)
    assert standing.worker.pid is not None
    for process in psutil.Process(standing.worker.pid).children(recursive=True):
        process.kill()
    standing.wait(lambda: len(standing.webhook.got) == 2)
    assert standing.state(run) == "CRASHED"
    assert standing.webhook.got[1].endswith(f"{standing.url}/runs/flow-run/{run}")


def test_worker__killed_worker_ends_its_run(standing: "Standing") -> None:
    run = standing.start_run("wait")
    standing.wait(standing.waiting)
    assert standing.worker.pid is not None
    os.kill(standing.worker.pid, signal.SIGKILL)
    standing.wait(lambda: set(standing.states()) == {"FAILED", "CRASHED"}, 20)  # including the killed run
    standing.wait(lambda: len(standing.webhook.got) == 3, 20)
    assert standing.webhook.got[2].endswith(f"{standing.url}/runs/flow-run/{run}")


def test_up__starts_missing_services_and_keeps_schedules_paused(standing: "Standing") -> None:
    nightly = standing.ask("GET", "deployments/name/retrain/nightly")
    path = f"deployments/{nightly['id']}/schedules"
    standing.ask("PATCH", f"{path}/{nightly['schedules'][0]['id']}", {"active": False})
    server = standing.server.pid
    printed = standing.run("up")
    assert f"server: runs already (process {server})" in printed
    assert [schedule["active"] for schedule in standing.ask("GET", path)] == [False]
    worker = standing.worker.pid
    assert f"worker: runs already (process {worker})" in standing.run("up")
    assert (standing.server.pid, standing.worker.pid) == (server, worker)


def test_worker_and_run__killed_together_are_marked_by_the_next_worker(standing: "Standing") -> None:
    run = standing.start_run("wait")
    standing.wait(standing.waiting)
    assert standing.worker.pid is not None
    worker = psutil.Process(standing.worker.pid)
    for process in [worker, *worker.children(recursive=True)]:
        process.kill()
    standing.wait(lambda: standing.worker.pid is None)
    assert standing.state(run) == "RUNNING"
    following = standing.start_run()
    standing.run("up")
    standing.wait(lambda: standing.state(following) == "COMPLETED")
    assert standing.state(run) == "CRASHED"
    standing.wait(lambda: set(standing.states()) == {"FAILED", "CRASHED", "COMPLETED"}, 10)
    (text,) = standing.webhook.got[3:]
    assert "the process has ended" in text
    assert text.endswith(f"{standing.url}/runs/flow-run/{run}")


def alive(standing: "Standing") -> list[str]:
    """Return the command lines of the processes that run in the copy."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == standing.checkout.folder:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_down__leaves_no_process(standing: "Standing") -> None:
    standing.start_run("wait")
    standing.wait(standing.waiting)
    assert len(alive(standing)) == 3
    printed = standing.run("down")
    assert re.findall(r"^(?:worker|server): .*$", printed, re.MULTILINE) == ["worker: stopped", "server: stopped"]
    assert printed.count("crashed, the process has ended") == 2  # the run and its subflow
    assert alive(standing) == []
    with sqlite3.connect(standing.checkout.folder / ".cache" / "prefect" / "prefect.db") as database:
        states = {
            state
            for kind in ("flow_run", "task_run")
            for (state,) in database.execute(f"select state_type from {kind}")
        }
    assert states - {"SCHEDULED"} == {"FAILED", "CRASHED", "COMPLETED"}


def test_serve__runs_deployments_with_a_temporary_server_until_ctrl_c(standing: "Standing") -> None:
    process = standing.checkout.start(["python", "-m", "medtune", "services", "serve"], **standing.variables)
    assert process.stdout is not None
    for line in process.stdout:
        if line == f"dashboard: {standing.url}\n":
            break
    run = standing.start_run()
    standing.wait(lambda: standing.state(run) == "COMPLETED")
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert printed.endswith("server: stopped\n")
    assert "Traceback" not in printed
    assert alive(standing) == []
