"""Checks of device, threads and memory."""

from pathlib import Path

import pytest

from medtune.doctor import device, machine
from medtune.doctor.check_result import CheckResult


def test_device__follows_the_environment(make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.check_device(make_job(tmp_path)) == CheckResult("ok", "cpu (MEDTUNE_DEVICE=cpu)")
    monkeypatch.setenv("MEDTUNE_DEVICE", "tpu")
    assert "set cpu, cuda" in device.check_device(make_job(tmp_path)).fix
    monkeypatch.setenv("MEDTUNE_DEVICE", "cuda")
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    if not device.DRIVER.exists():
        assert "no NVIDIA driver responds" in device.check_device(make_job(tmp_path)).message


@pytest.mark.parametrize(("named", "state"), [("100000", "warning"), ("many", "warning"), ("", "ok")])
def test_threads__more_than_cores(
    make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, state: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", named)
    assert machine.check_threads(make_job(tmp_path)).state == state


def test_memory__less_than_a_step_needs(make_job, tmp_path: Path) -> None:
    context = make_job(tmp_path)
    context.facts["memory"] = 1e15
    result = machine.check_memory(context)
    assert result.state == "wrong"
    assert "batch_size" in result.fix


@pytest.mark.parametrize(("free", "state"), [(2.9e9, "wrong"), (3.9e9, "warning"), (4.1e9, "ok")])
def test_memory__export_needs_more_than_a_step(
    make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, state: str
) -> None:
    monkeypatch.setattr(machine, "_free_memory", lambda: free)
    context = make_job(tmp_path)
    context.facts["memory"] = 3e9
    result = machine.check_memory(context)
    assert result.state == state
    assert "needs about 3 GB, with export up to 1 GB more" in result.message
