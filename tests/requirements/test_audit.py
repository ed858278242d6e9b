"""Tests of the audit: findings, accepted findings, and errors if the service does not answer."""

import datetime
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
TOOLS = PROJECT / ".cache" / "audit" / "bin" / "python"
CLEAN = {"name": "numpy", "version": "2.4", "vulns": []}
VULNERABLE = {
    "name": "pillow",
    "version": "9",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["10"]}],
}


def test_verdict__reports_vulnerabilities(audit: ModuleType) -> None:
    assert audit.verdict("a", {"dependencies": [CLEAN]}, {})[0] == 0
    code, lines = audit.verdict("a", {"dependencies": [CLEAN, VULNERABLE]}, {})
    assert code == 1
    assert lines == [
        "a: pillow 9: PYSEC-1 CVE-1; fixed in: 10",
        "a: 2 packages, 1 known vulnerabilities, 0 accepted",
    ]


def test_verdict__vulnerability_is_accepted_by_any_alias(audit: ModuleType) -> None:
    code, lines = audit.verdict("a", {"dependencies": [VULNERABLE]}, {"CVE-1": "never opened"})
    assert code == 0
    assert lines[0].endswith("accepted: never opened")


@pytest.mark.parametrize(
    "result",
    ["Name or service not known", {"dependencies": []}, {"dependencies": [{"name": "x", "skip_reason": "not found"}]}],
)
def test_verdict__missing_result_is_an_error(audit: ModuleType, result: Any) -> None:
    code, lines = audit.verdict("a", result, {})
    assert code == 2
    assert "not audited" in lines[0]


def test_allowed__expires_after_its_date(audit: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "allowed.toml"
    file.write_text('[[allowed]]\nid = "CVE-1"\nreason = "r"\nuntil = 2026-01-31\n')
    assert audit.allowed(file, datetime.date(2026, 1, 31)) == {"CVE-1": "r"}
    assert audit.allowed(file, datetime.date(2026, 2, 1)) == {}
    file.write_text('[[allowed]]\nid = "CVE-1"\nuntil = 2026-01-31\n')
    with pytest.raises(ValueError, match="no reason"):
        audit.allowed(file, datetime.date(2026, 1, 1))
    assert audit.allowed(audit.ALLOWED, datetime.date(2026, 12, 1))


@pytest.fixture
def service() -> Iterator[str]:
    """Start an OSV server that knows one vulnerability of pillow."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            package = json.loads(self.rfile.read(int(self.headers["content-length"])))["package"]["name"]
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}]
            affected = [{"package": {"name": "pillow", "ecosystem": "PyPI"}, "ranges": ranges}]
            response = (
                {"vulns": [{"id": "PYSEC-1", "summary": "bad", "affected": affected}]} if package == "pillow" else {}
            )
            content = json.dumps(response).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(not TOOLS.exists(), reason="make sbom or make audit installs the tools first")
def test_command__queries_the_service_and_reports_if_it_is_unreachable(service: str) -> None:
    def run(url: str) -> tuple[int, str]:
        command = [str(TOOLS), "requirements/audit.py", "requirements/predict.lock"]
        process = subprocess.run(
            command, cwd=PROJECT, env={**os.environ, "MEDTUNE_OSV_URL": url}, capture_output=True, text=True
        )
        return process.returncode, process.stdout + process.stderr

    code, output = run(service)
    assert code == 1, output
    assert "predict.lock: pillow " in output
    assert "PYSEC-1; fixed in: 99" in output
    code, output = run("http://127.0.0.1:9/v1/query")
    assert code == 2
    assert "not audited: the vulnerability service cannot be reached" in output
