"""Tests that `medtune doctor` reports injected faults with a fix."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from medtune.config.load import load
from medtune.doctor import checkout
from medtune.doctor import run as command
from medtune.doctor.check_result import CheckResult, Context
from medtune.runtime.paths import RunPaths

PROJECT = Path(__file__).resolve().parent.parent.parent
NO_SERVER = "http://127.0.0.1:9"  # no process listens on this port


def doctor(arguments: list[str], environment: dict[str, str], prefix: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of the command, without the W&B and hub settings of the tests."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "WANDB_MODE", "PREFECT_API_URL")}
    process = subprocess.run(
        [*prefix, sys.executable, "-m", "medtune", "doctor", *arguments],
        cwd=PROJECT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return process.returncode, process.stdout, process.stderr


def line(out: str, label: str) -> str:
    (result,) = [text for text in out.splitlines() if text[9:].startswith(f"{label} ")]
    return result


class Namespace:
    """Mounts for a command, which need root or a kernel that allows user namespaces."""

    def __init__(self, *mounts: str) -> None:
        self.script = " && ".join([*mounts, 'exec "$@"'])
        user_options = [] if os.geteuid() == 0 else ["--map-root-user"]
        self.command = ["unshare", *user_options, "--mount", "sh", "-c", self.script, "sh"]

    def prefix(self) -> tuple[str, ...]:
        try:
            command = [*self.command, sys.executable, "-c", ""]
            process = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except OSError as error:
            pytest.skip(f"mounts are not permitted: {error}")
        if process.returncode:
            pytest.skip(f"mounts are not permitted: {process.stderr.strip()}")
        return tuple(self.command)


def write_other_shapes(folder: Path) -> Path:
    """Write a safetensors file that fits no backbone."""
    save_file({"conv1.weight": np.zeros((2, 3), np.float32)}, folder / "other.safetensors")
    return folder / "other.safetensors"


class CodeRunner:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (os.mkdir, (str(self.folder),))


@pytest.mark.slow
def test_doctor__reports_four_faults_in_one_run(tmp_path: Path) -> None:
    artifacts, cache = tmp_path / "artifacts", tmp_path / "cache"
    artifacts.mkdir()
    cache.mkdir()
    faults = Namespace(
        f"mount -t tmpfs -o size=1m,ro none {artifacts}",
        f"mount -t tmpfs -o size=64k none {cache}",
        f"(head -c 1000000 /dev/zero > {cache}/full || true) 2>/dev/null",
    )
    arguments = ["--quick", "--out", str(tmp_path), "--set", f"model.weights={write_other_shapes(tmp_path)}"]
    environment = {"HF_ENDPOINT": NO_SERVER, "MEDTUNE_CACHE": str(cache)}
    code, out, err = doctor(arguments, environment, faults.prefix())
    assert (code, err) == (2, "")
    for label, state, message, fix in (
        ("write artifacts", "wrong", "Read-only file system", "mount it writable"),
        ("write cache", "wrong", "No space left on device", "MEDTUNE_CACHE=DIR"),
        ("disk of cache", "wrong", "0 bytes free", "free space"),
        ("hub", "warning", f"the request to {NO_SERVER} failed", "HF_ENDPOINT"),
        ("weights", "wrong", "other.safetensors: it does not fit", ".safetensors"),
    ):
        result = line(out, label)
        assert result.startswith(state), result
        assert message in result.partition(" -> ")[0]
        assert fix in result.partition(" -> ")[2]
    assert line(out, "write data/prepared").startswith("ok")
    counts = [sum(text.startswith(f"{state:<8} ") for text in out.splitlines()) for state in ("ok", "warning", "wrong")]
    assert out.splitlines()[-1] == "{} ok, {} warnings, {} wrong".format(*counts)


@pytest.mark.slow
def test_doctor__pickled_code_is_an_error_and_not_run(tmp_path: Path) -> None:
    weights, executed = tmp_path / "weights.pth", tmp_path / "executed"
    weights.write_bytes(pickle.dumps({"state_dict": CodeRunner(executed)}))
    code, out, _ = doctor(
        ["--quick", "--out", str(tmp_path), "--set", f"model.weights={weights}"], {"HF_ENDPOINT": NO_SERVER}
    )
    assert code == 2
    assert line(out, "weights").startswith("wrong")
    assert "cannot be read as plain tensors" in line(out, "weights")
    assert not executed.exists()


@pytest.mark.slow
def test_doctor__default_params_are_ok_offline_without_leftover_files(tmp_path: Path) -> None:
    code, out, err = doctor(["--offline", "--out", str(tmp_path)], {"MEDTUNE_CACHE": str(tmp_path / "cache")})
    assert (code, err) == (0, ""), out
    assert "(estimate from 480 images of 128 px" in line(out, "estimate disk")
    assert "forward pass" in line(out, "estimate time")
    assert "a training process needs about" in line(out, "memory")
    assert "not contacted (--offline)" in line(out, "hub")
    assert list(tmp_path.iterdir()) == []


def test_doctor__invalid_params_are_one_line_without_heavy_imports() -> None:
    code = """
import json, sys
from medtune.cli.main import main
sys.argv = ["medtune", "doctor", "--set", "frozen.lrr=3"]
try:
    main()
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules.keys() & {"torch", "timm", "prefect", "wandb"})]))"""
    process = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert json.loads(process.stdout) == [2, []]
    assert process.stderr.startswith("error: frozen.lrr: unknown key")


def test_run_checks__exception_in_a_check_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(job: Context) -> CheckResult:
        raise TypeError("unexpected type")

    monkeypatch.setattr(command, "CHECKS", {"broken": broken, "clock": checkout.check_clock})
    failed, clock = command.run_checks(Context(load(), RunPaths(tmp_path, tmp_path / "cache")))
    assert (failed.state, failed.label) == ("wrong", "broken")
    assert failed.message == "the check itself failed: TypeError: unexpected type"
    assert failed.fix == f"look at {broken.__module__}"
    assert clock.state == "ok"
