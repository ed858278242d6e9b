"""Tests of daemons: detection while they run, and errors when starting them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.flows import service_address, services
from medtune.flows.supervisor import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    sleeper = Daemon("sleeper", tmp_path)
    yield sleeper
    sleeper.stop(0)


def start(daemon: Daemon, script: str = "exec sleep 600") -> int:
    daemon.start(["sh", "-c", script], os.environ, "http://here")
    assert daemon.pid is not None
    return daemon.pid


def wait_for_log(daemon: Daemon, text: str) -> None:
    end = time.monotonic() + 60
    while daemon.log.read_text() != text:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_daemon__is_detected_while_it_runs(daemon: Daemon) -> None:
    assert (daemon.pid, daemon.note) == (None, None)
    assert not daemon.stop(0)
    pid = start(daemon, "echo started; exec sleep 600")
    assert Daemon("sleeper", daemon.folder) == daemon
    assert (daemon.pid, daemon.note) == (pid, "http://here")
    assert os.getsid(pid) == pid
    wait_for_log(daemon, "started\n")
    assert daemon.stop(10)
    assert daemon.pid is None


def test_daemon__killed_daemon_and_reused_pid_are_not_running(daemon: Daemon) -> None:
    os.kill(start(daemon), signal.SIGKILL)
    while daemon.pid:
        time.sleep(0.01)
    (daemon.folder / "sleeper.pid").write_text(f"{os.getpid()} http://here")
    assert daemon.note is None
    start(daemon)
    assert daemon.note == "http://here"


def test_daemon__second_start_fails(daemon: Daemon) -> None:
    pid = start(daemon)
    with pytest.raises(BlockingIOError):
        daemon.start(["sleep", "600"], os.environ)
    assert daemon.pid == pid


def test_daemon__is_killed_after_the_timeout(daemon: Daemon) -> None:
    start(daemon, "trap '' TERM; echo ready; while true; do sleep 0.1; done")
    wait_for_log(daemon, "ready\n")
    assert daemon.stop(0.2)
    assert daemon.pid is None


def test_daemon__stop_ends_child_processes_of_a_dead_daemon(daemon: Daemon) -> None:
    os.waitpid(start(daemon, "sleep 600 & exec sleep 0.2"), 0)
    assert daemon.pid is not None
    assert daemon.stop(0)
    assert daemon.pid is None


def test_follow__exited_worker_is_an_error(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    os.waitpid(start(daemon, "sleep 0.2; echo last line"), 0)
    with pytest.raises(SystemExit) as exit_error:
        services._follow(daemon)
    assert exit_error.value.code == 1
    assert capsys.readouterr() == ("last line\n", f"error: the worker exited; see {daemon.log}\n")


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_check_port_free__error_names_the_setting(used_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(used_port))
    message = rf"PREFECT_SERVER_API_PORT={used_port}: cannot listen on 127.0.0.1 \(the port is in use\)"
    with pytest.raises(InputError, match=message):
        service_address.check_port_free()
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "http")
    with pytest.raises(InputError, match=r"PREFECT_SERVER_API_PORT=http: invalid port. Use a number from 1 to 65535"):
        service_address.local_address()


@pytest.mark.parametrize(
    ("host", "url"),
    [("", "http://127.0.0.1:4300/api"), ("0.0.0.0", "http://127.0.0.1:4300/api"), ("gpu1", "http://gpu1:4300/api")],
)
def test_local_address__is_reachable_by_clients(host: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "4300")
    monkeypatch.setenv("PREFECT_SERVER_API_HOST", host)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert service_address.local_address() == service_address.configured_address() == url


def run_services(tmp_path: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-m", "medtune", "services", *arguments],
        cwd=PROJECT,
        env={**environment, "MEDTUNE_CACHE": str(tmp_path), **variables},
        capture_output=True,
        text=True,
    )


def test_up__port_in_use_is_an_error(used_port: int, tmp_path: Path) -> None:
    for command in ("up", "server", "serve"):
        process = run_services(tmp_path, command, PREFECT_SERVER_API_PORT=str(used_port))
        assert process.returncode == 2
        assert process.stderr.startswith(f"error: PREFECT_SERVER_API_PORT={used_port}")
        assert process.stderr.count("\n") == 1


def test_up__unreachable_configured_server_is_an_error(tmp_path: Path) -> None:
    process = run_services(tmp_path, "up", PREFECT_API_URL="http://127.0.0.1:9/api/")
    assert process.returncode == 1
    error = "error: PREFECT_API_URL=http://127.0.0.1:9/api: no Prefect server answers. "
    assert process.stderr == error + "Start it, or unset PREFECT_API_URL\n"


def test_status_and_down__report_that_no_service_runs(tmp_path: Path) -> None:
    process = run_services(tmp_path, "status")
    assert (process.returncode, process.stdout) == (1, "server: does not run\nworker: does not run\n")
    process = run_services(tmp_path, "down")
    assert (process.returncode, process.stdout) == (0, "worker: was not running\nserver: was not running\n")
