"""What `medtune.doctor` says of Prefect."""

from pathlib import Path

import pytest

from medtune.config.load import load
from medtune.doctor.check_result import Context
from medtune.doctor.prefect_server import check_prefect
from medtune.runtime.paths import RunPaths


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Context(load(), RunPaths(tmp_path, tmp_path / "cache"))


def test_prefect__starts_its_own(asked: Context) -> None:
    found = check_prefect(asked)
    assert found.state == "ok"
    assert "a run starts its own" in found.message
    assert not asked.paths.cache.exists()


def test_prefect__a_server_that_does_not_answer(asked: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    found = check_prefect(asked)
    assert found.state == "wrong"
    assert "unset PREFECT_API_URL" in found.fix


def test_prefect__a_home_that_cannot_be_written(
    asked: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    found = check_prefect(asked)
    assert found.state == "wrong"
    assert "PREFECT_HOME" in found.fix
