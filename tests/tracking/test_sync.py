"""Tests of uploads of offline runs: order, skipped recordings and failures."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.tracking import lineage
from medtune.tracking.local_log import LocalLog
from medtune.tracking.read import read_run
from medtune.tracking.run import run_id, start_run
from medtune.tracking.run_files import list_run_files
from medtune.tracking.sync import DAMAGED, EMPTY, LIVE, UNSAFE, UPLOAD, SyncDecision, decide, sync

if TYPE_CHECKING:
    from tests.tracking.conftest import Server

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
SCRIPT = """
import sys, time
from medtune.config.load import load
from medtune.tracking.run import start_run
run = start_run("frozen", sys.argv[1], "group", load(), "frozen fold 2", 2)
for step in range(20, 201, 20):
    run.log({"train/loss": float(step)}, step)
print("ready", flush=True)
time.sleep(120)
"""


def record(key: str, params: Params, steps: range) -> None:
    with start_run("frozen", key, "group", params, f"frozen {key[:1]}", 1) as run:
        for step in steps:
            run.log({"train/loss": float(step)}, step)


def wait_until_written(cache: Path) -> None:
    """Wait for W&B's process, which may write a run after the run has finished."""

    def is_written(file: Path) -> bool:
        try:
            return read_run(file).exit_code is not None
        except ValueError:
            return False

    deadline = time.monotonic() + 60
    while not all(is_written(run_file.file) for run_file in list_run_files(cache)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_next_second() -> None:
    """Wait for the next second, because folder names of W&B have a resolution of one second."""
    time.sleep(1.01 - time.time() % 1)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache that `recorded` copies, empty before its first use."""
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture
def recorded(template: Path, cache: Path, params: Params) -> Path:
    """Return a cache with runs A, B, resumed A, and C, which was killed before it wrote anything."""
    if any(template.iterdir()):
        shutil.copytree(template, cache, dirs_exist_ok=True)
        return cache
    for key, steps in ((A, range(20, 101, 20)), (B, range(20, 61, 20)), (A, range(120, 201, 20))):
        record(key, params, steps)
        wait_until_written(cache)
        wait_for_next_second()
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, C], cwd=PROJECT, env=inherited, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    shutil.copytree(cache, template, dirs_exist_ok=True)
    return cache


@pytest.fixture
def online_later(recorded: Path, online: "Server") -> "Server":
    """Return the server, which is started after the runs were recorded."""
    return online


def run_verdicts(cache: Path) -> list[tuple[str, str]]:
    return [(decision.run_file.run_id[:1], decision.verdict) for decision in decisions(cache)]


def decisions(cache: Path) -> list[SyncDecision]:
    return decide(list_run_files(cache), lambda run_id: LocalLog(cache, run_id).is_live(), read_run)


@pytest.mark.slow
@pytest.mark.xdist_group("sync")
def test_decide__selects_pending_runs_oldest_first(recorded: Path) -> None:
    assert run_verdicts(recorded) == [("a", UPLOAD), ("b", UPLOAD), ("a", UPLOAD), ("c", EMPTY)]
    first, second, third, fourth = list_run_files(recorded)
    first.synced_marker.touch()
    assert run_verdicts(recorded) == [("b", UPLOAD), ("a", UPLOAD), ("c", EMPTY)]
    second.file.write_bytes(b"damaged")
    assert run_verdicts(recorded) == [("b", DAMAGED), ("a", UPLOAD), ("c", EMPTY)]
    online_folder = fourth.file.parent.with_name(fourth.file.parent.name.replace("offline-run", "run"))
    fourth.file.parent.rename(online_folder)
    assert run_verdicts(recorded) == [("b", DAMAGED), ("a", UPLOAD)]  # online runs are not pending
    third.synced_marker.touch()
    assert run_verdicts(recorded) == [("b", DAMAGED)]


@pytest.mark.slow
def test_decide__live_run_is_skipped(cache: Path, params: Params) -> None:
    record(C, params, range(20, 61, 20))
    wait_until_written(cache)
    wait_for_next_second()
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, C], cwd=PROJECT, env=inherited, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert run_verdicts(cache) == [("c", UPLOAD), ("c", LIVE)]
    finally:
        process.kill()
        process.wait()
    assert run_verdicts(cache)[1][1] != LIVE


def test_decide__local_paths_are_skipped(cache: Path) -> None:
    import wandb

    (cache / "wandb").mkdir()
    with wandb.init(
        dir=str(cache), mode="offline", id="old", settings=wandb.Settings(silent=True, console="off")
    ) as run:
        run.log({"train/loss": 1.0})
    wait_until_written(cache)
    assert run_verdicts(cache) == [("o", UNSAFE)]


@pytest.mark.slow
@pytest.mark.xdist_group("sync")
def test_sync__uploads_parts_in_order_and_once(
    online_later: "Server", recorded: Path, exit_code: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    truncated = list_run_files(recorded)[1].file
    truncated.write_bytes(truncated.read_bytes()[:-5])  # truncates the last record, the exit code
    assert exit_code(sync) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sync: recordings skipped (empty): 1"
    assert [line.split(" (")[0] for line in lines[1:]] == [
        "sync: 1 of 3: frozen a", "sync: 2 of 3: frozen b", "sync: 3 of 3: frozen a"
    ]  # fmt: skip
    assert all("uploaded in" in line for line in lines[1:])
    assert online_later.steps(run_id(A)) == list(range(20, 201, 20))
    assert online_later.steps(run_id(B)) == [20, 40, 60]
    assert online_later.runs[run_id(A)]["about"]["jobType"] == "frozen"
    for secret in (str(recorded.parent).encode(), str(PROJECT).encode(), sys.prefix.encode()):
        assert secret not in online_later.everything, secret

    before = len(online_later.sent)
    assert exit_code(sync, prune=True) == 0
    assert "nothing to upload" in capsys.readouterr().out
    assert len(online_later.sent) == before
    assert all(part.synced_marker.exists() for part in list_run_files(recorded)[:3])
    assert [list(part.file.parent.glob("*/")) for part in list_run_files(recorded)[:3]] == [[], [], []]
    assert read_run(list_run_files(recorded)[0].file).last_step == 100


@pytest.mark.slow
@pytest.mark.xdist_group("sync")
def test_sync__failed_run_is_reported_and_others_continue(
    online_later: "Server", recorded: Path, exit_code: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    online_later.refuse = {"file_stream"}
    assert exit_code(sync) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "failed: " in lines[1]
    assert "404" in lines[1]
    assert lines[3].endswith("waits for the previous part of its run")
    # `wandb sync` marked the runs, although the upload failed.
    assert [part.synced_marker.exists() for part in list_run_files(recorded)] == [False] * 4

    online_later.refuse = set()
    assert exit_code(sync) == 0
    assert online_later.steps(run_id(A)) == list(range(20, 201, 20))


@pytest.mark.slow
def test_sync__rejected_artifact_is_a_failure(
    cache: Path, params: Params, online: "Server", exit_code: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    offline = params.model_copy(update={"tracking": params.tracking.model_copy(update={"mode": "offline"})})
    with start_run("export", A, "group", offline, "export fold 1", 1) as run:
        version = lineage.ArtifactVersion("medtune-bundle", lineage.BUNDLE, "0" * 64)
        run.safely(lambda wandb_run: lineage._log(wandb_run, version, used=False))
    online.refuse = {"CreateArtifact"}
    assert exit_code(sync) == 1
    assert "CreateArtifact is refused" in capsys.readouterr().out
    (part,) = list_run_files(cache)
    assert part.pending
    online.refuse = set()
    assert exit_code(sync) == 0
    assert online.runs[run_id(A)]["made"] == ["medtune-bundle"]


def test_sync__missing_key_is_an_error(cache: Path, params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    record(A, params, range(20, 61, 20))
    code, printed = command(cache)
    assert code == 2
    assert printed.count("error: WANDB_API_KEY is not set: 1 recorded runs wait for upload") == 1
    assert "Traceback" not in printed


def test_sync__rejected_key_is_an_error(cache: Path, params: Params, server: "Server") -> None:
    record(A, params, range(20, 61, 20))
    server.knows_key = False
    code, printed = command(cache, WANDB_API_KEY="0" * 40, WANDB_BASE_URL=server.url)
    assert (code, len(printed.splitlines())) == (2, 1)
    assert "rejects the key" in printed
    assert not list_run_files(cache)[0].synced_marker.exists()


def test_sync__unreachable_server_is_an_error(cache: Path, params: Params) -> None:
    record(A, params, range(20, 61, 20))
    wait_until_written(cache)
    # W&B's process may still write its logs.
    files = [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".log"]
    before = {path: path.read_bytes() for path in files}
    assert any(path.suffix == ".wandb" for path in before)
    code, printed = command(cache, WANDB_API_KEY="0" * 40, WANDB_BASE_URL="http://127.0.0.1:9")
    assert code == 1
    assert printed == "sync: http://127.0.0.1:9 does not respond: Connection refused; 1 recorded runs wait for upload\n"
    assert {path: path.read_bytes() for path in before} == before
    assert not list_run_files(cache)[0].synced_marker.exists()


def test_sync__dry_run_needs_no_key_or_server(cache: Path, params: Params) -> None:
    record(A, params, range(20, 61, 20))
    code, printed = command(cache, "--dry-run")
    assert code == 0
    assert "sync: would upload frozen a (" in printed
    assert not list_run_files(cache)[0].synced_marker.exists()


def command(cache: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run `medtune sync` in a subprocess."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    process = subprocess.run(
        [sys.executable, "-m", "medtune", "sync", *arguments],
        cwd=PROJECT,
        env={**inherited, **environment, "MEDTUNE_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return process.returncode, process.stdout + process.stderr
