import json
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.tracking.read import RecordedRun, read_run
from medtune.tracking.redact import PLACEHOLDER
from medtune.tracking.run import resolve_mode, run_id, start_run
from tests.tracking.recorded_runs import read_runs

if TYPE_CHECKING:
    from tests.tracking.conftest import Server

KEY = "0123456789abcdef" * 4


def recorded(cache: Path) -> RecordedRun:
    """Read the only run, after W&B's process has written its last record."""
    deadline = time.monotonic() + 60
    while True:
        (run,) = read_runs(cache)
        if run.exit_code is not None or time.monotonic() > deadline:
            return run
        time.sleep(0.02)


def test_run__recorded_values_can_be_read(cache: Path, params: Params) -> None:
    plot = cache / "plot.png"
    Image.new("RGB", (4, 4), "red").save(plot)
    with start_run("frozen", KEY, "group-1", params, "frozen fold 1") as run:
        for step in range(3):
            run.log({"train/loss": 1.0 / (step + 1)}, step)
        run.image("confusion", plot)
        run.table("stages", ("stage", "state"), [("frozen", "ran")])
        run.summary({"test/accuracy": 0.5})

    result = recorded(cache)
    assert (result.run_id, result.group, result.job_type, result.name) == (
        run_id(KEY),
        "group-1",
        "frozen",
        "frozen fold 1",
    )
    assert result.config["key"] == KEY
    assert result.config["frozen"]["lr"] == params.frozen.lr
    assert [row["train/loss"] for row in result.history if "train/loss" in row] == [1.0, 0.5, pytest.approx(1 / 3)]
    assert result.summary["test/accuracy"] == 0.5
    assert {"confusion", "stages"} <= {name for row in result.history for name in row}
    assert result.exit_code == 0


def test_run__raising_stage_is_recorded_as_failed(cache: Path, params: Params) -> None:
    with pytest.raises(RuntimeError, match="loss"), start_run("frozen", KEY, "group", params, "frozen"):
        raise RuntimeError("the loss is not finite")
    assert recorded(cache).exit_code == 1


def test_run__resumed_key_has_same_id(cache: Path, params: Params) -> None:
    for _ in range(2):
        with start_run("frozen", KEY, "group", params, "frozen") as run:
            run.log({"train/loss": 1.0}, 1)
        time.sleep(1.01 - time.time() % 1)  # folder names of W&B have a resolution of one second
    assert [result.run_id for result in read_runs(cache)] == [run_id(KEY)] * 2


@pytest.mark.parametrize("variables", [{"WANDB_MODE": "disabled"}, {"RANK": "1"}])
def test_run__disabled_run_records_nothing(
    variables: dict[str, str], cache: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with start_run("frozen", KEY, "group", params, "frozen") as run:
        run.log({"train/loss": 1.0}, 1)
        run.summary({"a": 1})
    assert not run
    assert read_runs(cache) == []


@pytest.mark.parametrize(
    ("mode", "environment", "expected"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "k"}, "online"),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "offline"),
        ("offline", {"WANDB_API_KEY": "k"}, "offline"),
        ("disabled", {"WANDB_MODE": "online"}, "disabled"),
    ],
)
def test_resolve_mode__params_then_environment_then_key(
    mode: str, environment: dict[str, str], expected: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode(load(sets=[f"tracking.mode={mode}"])) == expected


def test_outage__rejected_key_is_recorded_offline(
    cache: Path, params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "not-a-key")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("medtune.tracking.run.INIT_TIMEOUT_S", 2.0)
    with start_run("frozen", KEY, "group", params, "frozen") as run:
        run.log({"train/loss": 1.0}, 1)
    assert recorded(cache).exit_code == 0
    assert "recording offline instead" in capsys.readouterr().out


def test_outage__unreachable_server_at_start_is_recorded_offline(
    cache: Path, params: Params, online: "Server", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    online.close()
    monkeypatch.setattr("medtune.tracking.run.INIT_TIMEOUT_S", 1.0)
    with start_run("frozen", KEY, "group", params, "frozen fold 1", 1) as run:
        run.log({"train/loss": 1.0}, 20)
    assert recorded(cache).curve("train/loss") == {20: 1.0}
    assert capsys.readouterr().out.count("recording offline instead") == 1


def test_safely__error_is_reported_once_and_not_raised(
    cache: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    with start_run("frozen", KEY, "group", params, "frozen") as run:
        run.image("no such plot", cache / "missing.png")
        run.image("no such plot", cache / "missing.png")
        run.log({"train/loss": 1.0}, 1)
    assert capsys.readouterr().out.count("W&B") == 1
    assert any("train/loss" in row for row in recorded(cache).history)


def test_read_run__reads_a_truncated_file(cache: Path, params: Params) -> None:
    with start_run("frozen", KEY, "group", params, "frozen") as run:
        for step in range(500):
            run.log({"train/loss": float(step), "val/loss": 0.0}, step)
    complete = recorded(cache)
    (path,) = (cache / "wandb").glob("offline-run-*/run-*.wandb")
    assert len(complete.history) == 500  # more than one 32 KiB block
    assert path.stat().st_size > 2 * 32768
    path.write_bytes(path.read_bytes()[:40000])
    truncated = read_run(path)
    assert truncated.run_id == complete.run_id
    assert 0 < len(truncated.history) < 500
    assert truncated.exit_code is None


def test_redaction__no_path_host_or_command_line_is_sent(
    cache: Path, params: Params, online: "Server", monkeypatch: pytest.MonkeyPatch
) -> None:
    data = params.data.model_copy(update={"root": "/mnt/hospital/patients"})
    model = params.model.model_copy(update={"weights": "~/weights/vit.safetensors"})
    monkeypatch.setattr(sys, "argv", ["/mnt/hospital-command-line.py"])
    with start_run(
        "frozen", KEY, "group", params.model_copy(update={"data": data, "model": model}), "frozen", 1
    ) as run:
        run.log({"train/loss": 1.0}, 20)
        run.table("stages", ("stage", "state"), [("frozen", "ran")])
        plot = cache / "plot.png"
        Image.new("RGB", (4, 4), "red").save(plot)
        run.image("test/confusion", plot)
    content = online.everything
    assert b"train/loss" in content
    assert b"frozen</td>" in content
    for secret in (b"hospital", b"vit.safetensors", str(cache).encode(), str(PROJECT).encode(), sys.prefix.encode(),
                   socket.gethostname().encode() + b'"', sys.argv[0].encode()):  # fmt: skip
        assert secret not in content, secret
    (config,) = [run["about"]["config"] for run in online.runs.values()]
    assert json.loads(config)["data"]["value"]["root"] == PLACEHOLDER
    assert json.loads(config)["provenance"]["value"]["python"]
