"""The check of the DVC remote."""

from pathlib import Path

import pytest

from medtune.doctor import dvc_remote


def test_remote__project_without_dvc_says_what_to_run(
    make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc_remote, "PROJECT", tmp_path)
    found = dvc_remote.check_remote(make_job(tmp_path))
    assert (found.state, found.message) == ("warning", "this project is not a DVC repository")
    assert found.fix.startswith("git init && dvc init")
