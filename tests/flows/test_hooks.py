"""Tests of alerts: delivery to a webhook, templates, and failures that must not affect the run."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from medtune.flows import hooks


class Webhook(HTTPServer):
    """HTTP server that stores requests and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.received: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/secret"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    server = Webhook()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MEDTUNE_ALERT_URL", server.url)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that calls the hook like Prefect when a flow run enters a state."""
    from uuid import UUID

    from prefect import flow
    from prefect.client.schemas.objects import FlowRun
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    @flow(name="retrain")
    def retrain() -> None: ...

    def enter(state: Any) -> None:
        hooks.notify(retrain, FlowRun(id=UUID(int=7), flow_id=UUID(int=8), name="brown-guan"), state)

    for name in ("MEDTUNE_ALERT_URL", "MEDTUNE_ALERT_TEMPLATE"):
        monkeypatch.delenv(name, raising=False)
    settings = {PREFECT_API_URL: "http://127.0.0.1:4200/api", PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings):
        yield enter


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


@pytest.fixture(autouse=True)
def propagate_prefect_logs(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("prefect", "prefect.flow_runs"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)


def test_notify__failure_and_crash_are_sent_with_a_link(
    run: Any, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.states import Crashed, Failed

    run(Failed(message='params.yaml: "lr" is 1e30'))
    run(Crashed(message="no sign of life"))
    link = "http://127.0.0.1:4200/runs/flow-run/00000000-0000-0000-0000-000000000007"
    failed, crashed = [body["text"] for body in webhook.received]
    assert failed == f'MedTune: retrain run brown-guan is Failed.\nparams.yaml: "lr" is 1e30\n{link}'
    assert crashed == f"MedTune: retrain run brown-guan is Crashed.\nno sign of life\n{link}"
    assert messages(caplog, logging.ERROR) == [failed, crashed]


def test_notify__uses_the_template_of_the_user(
    run: Any, webhook: Webhook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.states import Failed

    (tmp_path / "template.txt").write_text("$run cost $5: $message\n")
    monkeypatch.setenv("MEDTUNE_ALERT_TEMPLATE", str(tmp_path / "template.txt"))
    run(Failed(message="wrong"))
    monkeypatch.setenv("MEDTUNE_ALERT_TEMPLATE", str(tmp_path / "missing.txt"))
    run(Failed(message="wrong"))
    assert webhook.received[0] == {"text": "brown-guan cost $5: wrong"}
    assert webhook.received[1]["text"].startswith("MedTune: retrain run brown-guan is Failed.")
    (warning,) = messages(caplog, logging.WARNING)
    assert "missing.txt" in warning


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/secret", "ConnectError"),
        ("http://host:secret", "InvalidURL"),
        ("secret", "UnsupportedProtocol"),
        (None, "answered 500"),
    ],
    ids=["no server", "address", "scheme", "status"],
)
def test_notify__failed_webhook_is_a_warning_without_the_address(
    url: str | None,
    reason: str,
    run: Any,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from prefect.states import Failed

    webhook.status = 500
    if url:
        monkeypatch.setenv("MEDTUNE_ALERT_URL", url)
    run(Failed(message="wrong"))
    (warning,) = messages(caplog, logging.WARNING)
    assert reason in warning
    assert "secret" not in warning
