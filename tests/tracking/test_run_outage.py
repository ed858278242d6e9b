"""Tests of killed runs and outages: no step is lost or duplicated, and stages do not wait for the server."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.tracking.run import run_id, start_run
from medtune.tracking.run_files import list_run_files
from tests.tracking.recorded_runs import merge_parts, read_runs

if TYPE_CHECKING:
    from tests.tracking.conftest import Server

KEY = "0123456789abcdef" * 4


SCRIPT = """
import os, signal, sys
from medtune.config.load import load
from medtune.tracking.run import start_run
run = start_run("frozen", sys.argv[1], "group", load(), "frozen fold 1", 1)
for step in range(20, 101, 20):
    run.log({"train/loss": step / 10}, step)
    if step % 60 == 0:
        run.log({"val/loss": step / 20, "epoch": step // 60}, step)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run_killed_process(key: str = KEY) -> None:
    """Run a process that logs steps 20 to 100 and is killed before W&B writes them to its file."""
    # Without WANDB_SERVICE, W&B starts a separate process.
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, key], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    assert process.returncode == -signal.SIGKILL, process.stderr


def log_steps(params: Params, first: int) -> None:
    with start_run("frozen", KEY, "group", params, "frozen fold 1", 1) as run:
        for step in range(first, 201, 20):
            run.log({"train/loss": step / 10}, step)
            if step % 60 == 0:
                run.log({"val/loss": step / 20, "epoch": step // 60}, step)


@pytest.mark.parametrize("first", [20, 80, 120])
def test_resume__killed_run_has_every_step_once(first: int, cache: Path, params: Params) -> None:
    run_killed_process()
    log_steps(params, first)
    parts = read_runs(cache)
    assert len(parts) == 2
    run = merge_parts(parts)[run_id(KEY)]
    assert [row["_step"] for row in run.history] == list(range(20, 201, 20))
    assert run.curve("train/loss") == {step: step / 10 for step in range(20, 201, 20)}
    assert run.curve("val/loss") == {60: 3.0, 120: 6.0, 180: 9.0}
    assert run.exit_code == 0
    assert list((cache / "wandb" / "journal").iterdir()) == []


def test_resume__steps_of_earlier_process_are_not_repeated(cache: Path, params: Params) -> None:
    with start_run("frozen", KEY, "group", params, "frozen fold 1", 1) as run:
        for step in (20, 40, 60):
            run.log({"train/loss": step / 10}, step)
    time.sleep(1.01 - time.time() % 1)
    log_steps(params, 40)
    assert [row["_step"] for row in merge_parts(read_runs(cache))[run_id(KEY)].history] == list(range(20, 201, 20))


def test_resume__online_continues_after_last_step_of_server(cache: Path, params: Params, online: "Server") -> None:
    with start_run("frozen", KEY, "group", params, "frozen fold 1", 1) as run:
        for step in (20, 40, 60):
            run.log({"train/loss": step / 10}, step)
    assert online.steps(run_id(KEY)) == [20, 40, 60]
    time.sleep(1.01 - time.time() % 1)
    log_steps(params, 40)
    assert online.steps(run_id(KEY)) == list(range(20, 201, 20))
    assert online.runs[run_id(KEY)]["about"]["groupName"] == "group"


def test_outage__next_stage_does_not_wait(
    cache: Path, params: Params, online: "Server", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    online.close()
    monkeypatch.setattr("medtune.tracking.run.INIT_TIMEOUT_S", 1.0)
    for number in range(2):
        with start_run("frozen", str(number) + KEY, "group", params, "frozen fold 1", 1) as run:
            run.log({"train/loss": 1.0}, 20)
        time.sleep(1.01 - time.time() % 1)
    printed = capsys.readouterr().out
    assert printed.count("recording offline instead") == 1
    assert printed.count("the server failed recently") == 1
    assert len(read_runs(cache)) == 2


def test_outage__pending_run_and_next_part_is_offline(
    cache: Path, params: Params, online: "Server", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("medtune.tracking.run.FINISH_TIMEOUT_S", 1.0)
    with start_run("frozen", KEY, "group", params, "frozen fold 1", 1) as run:
        run.log({"train/loss": 1.0}, 20)
        online.close()
        run.log({"train/loss": 1.0}, 40)
    (part,) = list_run_files(cache)
    assert (part.offline, part.pending) == (False, True)
    assert "medtune sync" in capsys.readouterr().out
    time.sleep(1.01 - time.time() % 1)
    with start_run("frozen", KEY, "group", params, "frozen fold 1", 1) as run:
        run.log({"train/loss": 1.0}, 60)
    assert [part.offline for part in list_run_files(cache)] == [False, True]
    assert "recorded offline" in capsys.readouterr().out
