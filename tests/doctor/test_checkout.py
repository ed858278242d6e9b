"""Checks of the lock, git, the clock and the DVC remote."""

import subprocess
from pathlib import Path

import pytest

from medtune.doctor import checkout, dvc_remote
from medtune.runtime.lock import output_lock


def test_lock__held_by_another_run(make_job, tmp_path: Path) -> None:
    context = make_job(tmp_path)
    assert checkout.check_lock(context).state == "ok"
    with output_lock(context.paths):
        assert "another run is writing" in checkout.check_lock(context).message
    assert checkout.check_lock(context).state == "ok"


def test_git__outside_a_clone(make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "PROJECT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert checkout.check_git(make_job(tmp_path)).state == "warning"


def test_git__without_a_commit(make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "PROJECT", tmp_path)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    result = checkout.check_git(make_job(tmp_path))
    assert (result.state, result.message) == ("warning", "no commit yet")


def test_clock__hours_ahead_of_a_server(make_job, tmp_path: Path) -> None:
    context = make_job(tmp_path)
    context.facts["date"] = "Wed, 21 Oct 2015 07:28:00 GMT"
    result = checkout.check_clock(context)
    assert result.state == "warning"
    assert "ahead of the hub's" in result.message


def test_remote__probe_or_error(make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medtune.registry import remote

    monkeypatch.setattr(remote, "PROJECT", tmp_path)
    for level in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"DVC_{level}_CONFIG_DIR", str(tmp_path / level))
    assert "no .dvc folder" in dvc_remote.check_remote(make_job(tmp_path)).message
    settings = tmp_path / ".dvc" / "config"
    settings.parent.mkdir()
    settings.write_text("[core]\n    remote = there\n['remote \"there\"']\n    url = ../store\n")
    assert dvc_remote.check_remote(make_job(tmp_path)).message.startswith(
        f"there: {tmp_path / 'store'}, wrote, read and deleted"
    )
    assert list((tmp_path / "store").iterdir()) == []
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("a file")
    result = dvc_remote.check_remote(make_job(tmp_path))
    assert result.state == "wrong"
    assert "cannot write" in result.message
    settings.write_text("[core]\n")
    assert "no remote is set" in dvc_remote.check_remote(make_job(tmp_path)).message
