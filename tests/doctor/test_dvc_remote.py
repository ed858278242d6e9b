"""Test of the check of the DVC remote."""

from pathlib import Path

import pytest

from medtune.doctor import dvc_remote


def test_remote__warns_without_dvc(make_context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc_remote, "PROJECT", tmp_path)
    result = dvc_remote.check_remote(make_context(tmp_path))
    assert (result.state, result.message) == ("warning", "this project is not a DVC repository")
    assert result.fix.startswith("git init && dvc init")
