"""`medtune doctor` reports injected faults with a fix."""

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
NOBODY = "http://127.0.0.1:9"  # where no one listens


def doctor(words: list[str], environment: dict[str, str], prefix: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of the command, without the W&B and hub settings of the tests."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "WANDB_MODE", "PREFECT_API_URL")}
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "medtune", "doctor", *words],
        cwd=PROJECT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def line(out: str, label: str) -> str:
    (result,) = [one for one in out.splitlines() if one[9:].startswith(f"{label} ")]
    return result


class Namespace:
    """Mounts for one command. They need root, or a kernel that allows user namespaces."""

    def __init__(self, *mounts: str) -> None:
        self.script = " && ".join([*mounts, 'exec "$@"'])
        own = [] if os.geteuid() == 0 else ["--map-root-user"]
        self.words = ["unshare", *own, "--mount", "sh", "-c", self.script, "sh"]

    def prefix(self) -> tuple[str, ...]:
        try:
            words = [*self.words, sys.executable, "-c", ""]
            done = subprocess.run(words, capture_output=True, text=True, timeout=20)
        except OSError as error:
            pytest.skip(f"no mounts of one's own here: {error}")
        if done.returncode:
            pytest.skip(f"no mounts of one's own here: {done.stderr.strip()}")
        return tuple(self.words)


def other_shapes(folder: Path) -> Path:
    """Write a safetensors file that fits no backbone."""
    save_file({"conv1.weight": np.zeros((2, 3), np.float32)}, folder / "other.safetensors")
    return folder / "other.safetensors"


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (os.mkdir, (str(self.place),))


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
    words = ["--quick", "--out", str(tmp_path), "--set", f"model.weights={other_shapes(tmp_path)}"]
    environment = {"HF_ENDPOINT": NOBODY, "MEDTUNE_CACHE": str(cache)}
    code, out, err = doctor(words, environment, faults.prefix())
    assert (code, err) == (2, "")
    for label, state, message, todo in (
        ("write artifacts", "wrong", "Read-only file system", "mount it writable"),
        ("write cache", "wrong", "No space left on device", "MEDTUNE_CACHE=DIR"),
        ("disk of cache", "wrong", "0 bytes free", "free space"),
        ("hub", "warning", f"{NOBODY} does not respond", "HF_ENDPOINT"),
        ("weights", "wrong", "other.safetensors: it does not fit", ".safetensors"),
    ):
        result = line(out, label)
        assert result.startswith(state), result
        assert message in result.partition(" -> ")[0]
        assert todo in result.partition(" -> ")[2]
    assert line(out, "write data/prepared").startswith("ok")
    counts = [sum(one.startswith(f"{state:<8} ") for one in out.splitlines()) for state in ("ok", "warning", "wrong")]
    assert out.splitlines()[-1] == "{} ok, {} warnings, {} wrong".format(*counts)


@pytest.mark.slow
def test_doctor__needed_hub_fails_and_a_pickle_runs_no_code(tmp_path: Path) -> None:
    evil, made = tmp_path / "evil.pth", tmp_path / "executed"
    evil.write_bytes(pickle.dumps({"state_dict": Bomb(made)}))
    code, out, _ = doctor(
        ["--quick", "--out", str(tmp_path), "--set", f"model.weights={evil}"], {"HF_ENDPOINT": NOBODY}
    )
    assert code == 2
    assert line(out, "weights").startswith("wrong")
    assert "cannot be read as plain tensors" in line(out, "weights")
    assert not made.exists()
    empty = {"HF_ENDPOINT": NOBODY, "HF_HOME": str(tmp_path / "hub")}
    code, out, _ = doctor(["--quick", "--out", str(tmp_path), "--set", "model.weights=hub"], empty)
    assert code == 2
    assert line(out, "hub").startswith("wrong")
    assert "model.weights" in line(out, "hub").partition(" -> ")[2]


@pytest.mark.slow
def test_doctor__default_params_are_ok_offline_and_no_file_is_left(tmp_path: Path) -> None:
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
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [2, []]
    assert done.stderr.startswith("error: frozen.lrr: unknown key")


def test_run_checks__exception_in_a_check_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(job: Context) -> CheckResult:
        raise TypeError("no such thing")

    monkeypatch.setattr(command, "CHECKS", {"broken": broken, "clock": checkout.check_clock})
    failed, clock = command.run_checks(Context(load(), RunPaths(tmp_path, tmp_path / "cache")))
    assert (failed.state, failed.label) == ("wrong", "broken")
    assert failed.message == "the check itself failed: TypeError: no such thing"
    assert failed.fix == f"look at {broken.__module__}"
    assert clock.state == "ok"
