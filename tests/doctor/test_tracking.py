"""Tests of the check of W&B."""

from pathlib import Path

import pytest

from medtune.config.load import load
from medtune.doctor.check_result import Context
from medtune.doctor.tracking import check_wandb
from medtune.runtime.paths import RunPaths

NO_SERVER = "http://127.0.0.1:9"


def make_context(tmp_path: Path, mode: str, offline: bool = False) -> Context:
    return Context(load(sets=[f"tracking.mode={mode}"]), RunPaths(tmp_path, tmp_path / "cache"), offline)


def test_wandb__offline_and_disabled_contact_no_server(tmp_path: Path) -> None:
    assert check_wandb(make_context(tmp_path, "disabled")).message == "disabled"
    assert "medtune sync" in check_wandb(make_context(tmp_path, "offline")).message


def test_wandb__missing_key_and_unreachable_server_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert "$WANDB_API_KEY is not set" in check_wandb(make_context(tmp_path, "online")).message
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", NO_SERVER)
    result = check_wandb(make_context(tmp_path, "online"))
    assert result.state == "warning"
    assert f"{NO_SERVER} does not respond" in result.message
    assert check_wandb(make_context(tmp_path, "online", offline=True)).state == "ok"
