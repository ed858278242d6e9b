"""Tests of the checks of device, threads and memory."""

from pathlib import Path

import pytest

from medtune.doctor import device, machine
from medtune.doctor.check_result import CheckResult


def test_device__follows_the_environment(make_context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.check_device(make_context(tmp_path)) == CheckResult("ok", "cpu (MEDTUNE_DEVICE=cpu)")
    monkeypatch.setenv("MEDTUNE_DEVICE", "tpu")
    assert "set cpu, cuda" in device.check_device(make_context(tmp_path)).fix
    monkeypatch.setenv("MEDTUNE_DEVICE", "cuda")
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    if not device.DRIVER.exists():
        assert "no NVIDIA driver responds" in device.check_device(make_context(tmp_path)).message


@pytest.mark.parametrize(("threads", "state"), [("100000", "warning"), ("many", "warning"), ("", "ok")])
def test_threads__warns_about_more_threads_than_cores(
    make_context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str, state: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert machine.check_threads(make_context(tmp_path)).state == state


def test_memory__insufficient_memory_for_a_step_is_an_error(make_context, tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.facts["memory"] = 1e15
    result = machine.check_memory(context)
    assert result.state == "wrong"
    assert "batch_size" in result.fix


@pytest.mark.parametrize(("free", "state"), [(2.9e9, "wrong"), (3.9e9, "warning"), (4.1e9, "ok")])
def test_memory__includes_the_export(
    make_context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, state: str
) -> None:
    monkeypatch.setattr(machine, "_free_memory", lambda: free)
    context = make_context(tmp_path)
    context.facts["memory"] = 3e9
    result = machine.check_memory(context)
    assert result.state == state
    assert "needs about 3 GB, with export up to 1 GB more" in result.message
