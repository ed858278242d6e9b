"""Tests of the checks of the lock, git, the clock and the DVC remote."""

import subprocess
from pathlib import Path

import pytest

from medtune.doctor import checkout, dvc_remote
from medtune.runtime.lock import output_lock


def test_lock__detects_another_run(make_context, tmp_path: Path) -> None:
    context = make_context(tmp_path)
    assert checkout.check_lock(context).state == "ok"
    with output_lock(context.paths):
        assert "another run is writing" in checkout.check_lock(context).message
    assert checkout.check_lock(context).state == "ok"


def test_git__warns_outside_a_clone(make_context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "PROJECT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert checkout.check_git(make_context(tmp_path)).state == "warning"


def test_git__warns_without_a_commit(make_context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "PROJECT", tmp_path)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    result = checkout.check_git(make_context(tmp_path))
    assert (result.state, result.message) == ("warning", "no commit yet")


def test_clock__warns_if_it_is_ahead_of_the_server(make_context, tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.facts["date"] = "Wed, 21 Oct 2015 07:28:00 GMT"
    result = checkout.check_clock(context)
    assert result.state == "warning"
    assert "ahead of the hub's" in result.message


def test_remote__is_probed_and_errors_are_reported(
    make_context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medtune.registry import remote

    monkeypatch.setattr(remote, "PROJECT", tmp_path)
    for level in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"DVC_{level}_CONFIG_DIR", str(tmp_path / level))
    assert "no .dvc folder" in dvc_remote.check_remote(make_context(tmp_path)).message
    config = tmp_path / ".dvc" / "config"
    config.parent.mkdir()
    config.write_text("[core]\n    remote = storage\n['remote \"storage\"']\n    url = ../store\n")
    assert dvc_remote.check_remote(make_context(tmp_path)).message.startswith(
        f"storage: {tmp_path / 'store'}, wrote, read and deleted"
    )
    assert list((tmp_path / "store").iterdir()) == []
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("a file")
    result = dvc_remote.check_remote(make_context(tmp_path))
    assert result.state == "wrong"
    assert "cannot write" in result.message
    config.write_text("[core]\n")
    assert "no remote is set" in dvc_remote.check_remote(make_context(tmp_path)).message
