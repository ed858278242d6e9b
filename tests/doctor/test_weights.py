"""Tests of the checks of weights and hub. tests/doctor/test_run.py covers weights files."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from medtune.config.load import load
from medtune.doctor import weights
from medtune.doctor.check_result import Context
from medtune.models.compatibility import check_model
from medtune.runtime.paths import RunPaths

CDTM = ["model.head.kind=cdtm"]


def make_context(tmp_path: Path, *sets: str, offline: bool = False) -> Context:
    return Context(load(sets=sets), RunPaths(tmp_path, tmp_path / "cache"), offline)


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """Start a hub that answers every request with its `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.status = 200  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_hub__response_has_the_time_or_an_error_status(
    server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    context = make_context(tmp_path)
    assert weights.check_hub(context).state == "ok"
    assert context.facts["date"].endswith("GMT")
    server.status = 503  # type: ignore[attr-defined]
    result = weights.check_hub(make_context(tmp_path, "model.weights=hub"))
    assert result.state == "wrong"
    assert "status 503" in result.message


def test_hub__offline_is_ok_if_not_needed_or_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert weights.check_hub(make_context(tmp_path, offline=True)).state == "ok"
    needed = make_context(tmp_path, "model.weights=hub", offline=True)
    assert weights.check_hub(needed).state == "wrong"
    needed.facts["cached"] = True
    assert weights.check_hub(needed).state == "ok"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in weights.check_hub(make_context(tmp_path)).message


def test_hub__unreachable_server_is_an_error_only_if_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # no process listens on this port
    result = weights.check_hub(make_context(tmp_path, "model.weights=hub"))
    assert result.state == "wrong"
    assert "the request to http://127.0.0.1:9 failed" in result.message
    assert "model.weights" in result.fix
    assert weights.check_hub(make_context(tmp_path)).state == "warning"


def test_check_model__describes_the_network_without_weights() -> None:
    result = check_model(load(sets=[*CDTM, "model.weights=hub", "model.backbone=resnet18", "model.backbone_args={}"]))
    assert result["shape_fault"] is None
    assert result["weights_fault"] is None
    assert (result["tokens"], result["channels"]) == (16, 512)
    assert result["hub_id"].startswith("timm/resnet18")
    assert 11_000_000 < result["parameters"] < 11_300_000


def test_check_model__names_the_problem() -> None:
    assert "not a timm model" in check_model(load(sets=["model.backbone=resnet1800"]))["shape_fault"]
    result = check_model(load(sets=["model.backbone=resnet18", "model.weights=bundled"]))
    assert "no weights are shipped for resnet18" in result["weights_fault"]
