"""`config.doctor`: every fault is really made, and named with what to do."""

import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from config.doctor import __main__ as command
from config.doctor import checkout, device, folders, machine, packages, stores
from config.doctor.finding import Finding, Job
from config.load import load
from config.lock import holding
from config.settings import Paths

PROJECT = Path(__file__).resolve().parent.parent.parent
NOBODY = "http://127.0.0.1:9"  # where no one listens


def job(out: Path, *sets: str, **changes: object) -> Job:
    return Job(load(sets=sets), Paths(out, out / "cache"), **changes)  # type: ignore[arg-type]


def doctor(words: list[str], environment: dict[str, str], prefix: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, with the tests' own W&B and hub settings taken away."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "WANDB_MODE", "PREFECT_API_URL")}
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "config.doctor", *words],
        cwd=PROJECT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def line(out: str, label: str) -> str:
    (found,) = [one for one in out.splitlines() if one[9:].startswith(f"{label} ")]
    return found


class Namespace:
    """Mounts for one command alone; root and, where the kernel allows it, other users may make them."""

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
    """A safetensors file that fits no backbone."""
    save_file({"conv1.weight": np.zeros((2, 3), np.float32)}, folder / "other.safetensors")
    return folder / "other.safetensors"


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (os.mkdir, (str(self.place),))


@pytest.mark.slow
def test_doctor__four_faults_in_one_run_are_all_named(tmp_path: Path) -> None:
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
    for label, state, said, todo in (
        ("write artifacts", "wrong", "Read-only file system", "mount it writable"),
        ("write cache", "wrong", "No space left on device", "MEDTUNE_CACHE=DIR"),
        ("disk of cache", "wrong", "0 bytes free", "free space"),
        ("hub", "warning", f"{NOBODY} does not answer", "HF_ENDPOINT"),
        ("weights", "wrong", "other.safetensors does not fit", ".safetensors"),
    ):
        found = line(out, label)
        assert found.startswith(state), found
        assert said in found.partition(" -> ")[0]
        assert todo in found.partition(" -> ")[2]
    assert line(out, "write data/prepared").startswith("ok")
    counts = [sum(one.startswith(f"{state:<8} ") for one in out.splitlines()) for state in ("ok", "warning", "wrong")]
    assert out.splitlines()[-1] == "{} ok, {} warnings, {} wrong".format(*counts)


@pytest.mark.slow
def test_doctor__the_hub_is_wrong_where_it_is_needed_and_a_pickle_runs_nothing(tmp_path: Path) -> None:
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
def test_doctor__the_checkout_s_own_params_are_ok_offline_and_nothing_is_left(tmp_path: Path) -> None:
    code, out, err = doctor(["--offline", "--out", str(tmp_path)], {"MEDTUNE_CACHE": str(tmp_path / "cache")})
    assert (code, err) == (0, ""), out
    assert "(estimate from 480 images of 128 px" in line(out, "estimate disk")
    assert "training step" in line(out, "estimate time")
    assert "a training process needs about" in line(out, "memory")
    assert "not asked (--offline)" in line(out, "hub")
    assert list(tmp_path.iterdir()) == []


def test_doctor__a_mistake_in_params_is_one_line_and_imports_nothing_heavy() -> None:
    code = """
import json, runpy, sys
sys.argv = ["doctor", "--set", "frozen.lrr=3"]
try:
    runpy.run_module("config.doctor", run_name="__main__")
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules.keys() & {"torch", "timm", "prefect", "wandb"})]))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [2, []]
    assert done.stderr.startswith("error: frozen.lrr: unknown key")


def test_examine__a_check_that_fails_is_wrong_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"broken": "json:loads", "gone": "config.doctor.nowhere:x", "clock": "config.doctor.checkout:clock"}
    monkeypatch.setattr(command, "CHECKS", own)
    broken, gone, clock = command.examine(job(tmp_path))
    assert (broken.state, broken.label) == ("wrong", "broken")
    assert "this check itself failed: TypeError" in broken.found
    assert (gone.state, gone.todo) == ("wrong", "look at config.doctor.nowhere:x")
    assert clock.state == "ok"


def test_write__a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    found = {one.label: one for one in folders.write(job(tmp_path))}
    assert found["write artifacts"].state == "wrong"
    assert "artifacts" in found["write artifacts"].found
    assert "--out DIR" in found["write artifacts"].todo
    assert found["write cache"].state == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write wherever permissions forbid it")
def test_write__no_right_to(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    found = {one.label: one for one in folders.write(job(tmp_path))}
    assert "give this user the right" in found["write cache"].todo


def test_write__a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    asked = job(tmp_path, f"handoff.target={tmp_path}/published")  # the default lies in the checkout
    assert {one.state for one in folders.write(asked)} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_probe__a_write_that_ends_early_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files needs no mount: the kernel refuses what is above it, as it does on a full disk.
    code = f"from pathlib import Path; from config.doctor.folders import probe; probe(Path({str(tmp_path)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)),
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_disk__less_than_the_run_needs(tmp_path: Path) -> None:
    asked = job(tmp_path)
    assert {one.state for one in folders.disk(asked)} <= {"ok", "warning"}
    asked.need(asked.paths.cache, 1e18)
    (found,) = [one for one in folders.disk(asked) if "cache" in one.found]
    assert found.state == "wrong"
    assert "1e+06 TB needed (estimate)" in found.found
    assert "free space" in found.todo


def test_locked__reads_versions_and_markers(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text(
        "# made by uv\none==1.0 \\\n    --hash=sha256:00\n"
        "Two.x==2.1 ; python_full_version >= '3.11' \\\n    --hash=sha256:00\n"
        "three==3 ; sys_platform == 'nowhere' \\\n    --hash=sha256:00\n"
    )
    assert packages.locked(lock) == {"one": "1.0", "Two.x": "2.1"}


def test_packages__this_environment_is_the_lock(tmp_path: Path) -> None:
    found = packages.packages(job(tmp_path))
    assert found.state == "ok", found
    assert int(found.found.split()[0]) > 100


@pytest.mark.parametrize(
    ("text", "state", "said"),
    [
        ("numpy==0.0.1 \\\n", "warning", "(lock: 0.0.1)"),
        ("no-such-package==1 \\\n", "wrong", "1 of 1 are missing: no-such-package"),
    ],
)
def test_packages__other_or_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, state: str, said: str
) -> None:
    (tmp_path / "a.lock").write_text(text)
    monkeypatch.setattr(packages, "LOCK", tmp_path / "a.lock")
    found = packages.packages(job(tmp_path))
    assert (found.state, found.todo) == (state, "make setup")
    assert said in found.found


def test_packages__below_what_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "FLOORS", {"numpy": "999"})
    assert packages.packages(job(tmp_path)).state == "wrong"


def test_device__as_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.device(job(tmp_path)) == Finding("ok", "cpu (MEDTUNE_DEVICE=cpu)")
    monkeypatch.setenv("MEDTUNE_DEVICE", "tpu")
    assert "set cpu, cuda" in device.device(job(tmp_path)).todo
    monkeypatch.setenv("MEDTUNE_DEVICE", "cuda")
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    if not device.DRIVER.exists():
        assert "no NVIDIA driver answers" in device.device(job(tmp_path)).found


@pytest.mark.parametrize(("named", "state"), [("100000", "warning"), ("many", "warning"), ("", "ok")])
def test_threads__more_than_there_are_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, state: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", named)
    assert machine.threads(job(tmp_path)).state == state


def test_memory__less_than_a_step_takes(tmp_path: Path) -> None:
    asked = job(tmp_path)
    asked.facts["memory"] = 1e15
    found = machine.memory(asked)
    assert found.state == "wrong"
    assert "batch_size" in found.todo


def test_lock__held_by_another_run(tmp_path: Path) -> None:
    asked = job(tmp_path)
    assert checkout.lock(asked).state == "ok"
    with holding(asked.paths):
        assert "another run is writing" in checkout.lock(asked).found
    assert checkout.lock(asked).state == "ok"


def test_git__outside_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "PROJECT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert checkout.git(job(tmp_path)).state == "warning"


def test_clock__hours_from_a_server_s(tmp_path: Path) -> None:
    asked = job(tmp_path)
    asked.facts["date"] = "Wed, 21 Oct 2015 07:28:00 GMT"
    found = checkout.clock(asked)
    assert found.state == "warning"
    assert "ahead of the hub's" in found.found


def test_remote__probed_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from config import remote

    monkeypatch.setattr(remote, "PROJECT", tmp_path)
    for level in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"DVC_{level}_CONFIG_DIR", str(tmp_path / level))
    assert "no .dvc folder" in stores.remote(job(tmp_path)).found
    settings = tmp_path / ".dvc" / "config"
    settings.parent.mkdir()
    settings.write_text("[core]\n    remote = there\n['remote \"there\"']\n    url = ../store\n")
    assert stores.remote(job(tmp_path)).found.startswith(f"there: {tmp_path / 'store'}, wrote, read and deleted")
    assert list((tmp_path / "store").iterdir()) == []
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("a file")
    found = stores.remote(job(tmp_path))
    assert found.state == "wrong"
    assert "cannot write" in found.found
    settings.write_text("[core]\n")
    assert "none is set" in stores.remote(job(tmp_path)).found
