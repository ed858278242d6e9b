"""Tests of the check of Prefect."""

from pathlib import Path

import pytest

from medtune.config.load import load
from medtune.doctor.check_result import Context
from medtune.doctor.prefect_server import check_prefect
from medtune.runtime.paths import RunPaths


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Context(load(), RunPaths(tmp_path, tmp_path / "cache"))


def test_prefect__run_can_start_a_server(context: Context) -> None:
    result = check_prefect(context)
    assert result.state == "ok"
    assert "a run starts its own" in result.message
    assert not context.paths.cache.exists()


def test_prefect__unreachable_server_is_an_error(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    result = check_prefect(context)
    assert result.state == "wrong"
    assert "unset PREFECT_API_URL" in result.fix


def test_prefect__unwritable_home_is_an_error(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    result = check_prefect(context)
    assert result.state == "wrong"
    assert "PREFECT_HOME" in result.fix
