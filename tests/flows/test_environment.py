"""Tests of the environment of Prefect and its child processes."""

import os

import httpx
import pytest

from medtune.flows import environment

RETRIES, TIMEOUT = "PREFECT_CLIENT_MAX_RETRIES", "PREFECT_API_REQUEST_TIMEOUT"


@pytest.fixture(autouse=True)
def no_proxy_variables(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelling in (name, name.upper()):
            monkeypatch.setenv(spelling, "")  # monkeypatch restores the variable after the test
            monkeypatch.delenv(spelling)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "hospital.example"}, "hospital.example,127.0.0.1,localhost"),
        ({"no_proxy": "localhost, .local", "NO_PROXY": "other"}, "localhost,.local,127.0.0.1"),
    ],
)
def test_bypass__adds_loopback_and_keeps_existing_hosts(monkeypatch, variables, expected):
    for name, value in {"HTTP_PROXY": "http://127.0.0.1:9", **variables}.items():
        monkeypatch.setenv(name, value)
    environment.bypass_proxy_for_loopback()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == expected
    with httpx.Client() as client:
        assert client._transport_for_url(httpx.URL("http://127.0.0.1:4200/api")) is client._transport
        assert client._transport_for_url(httpx.URL("http://elsewhere.example/")) is not client._transport


def test_bypass__changes_nothing_without_a_proxy():
    environment.bypass_proxy_for_loopback()
    assert "NO_PROXY" not in os.environ


def test_child_environment__bypasses_the_proxy(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert "127.0.0.1" in environment.child_environment()["NO_PROXY"]


@pytest.mark.parametrize(("variables", "expected"), [({}, ("6", "60")), ({RETRIES: "2", TIMEOUT: "9"}, ("2", "9"))])
def test_patience__precedes_the_limits_of_other_runs_and_follows_the_user(monkeypatch, tmp_path, variables, expected):
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    monkeypatch.setattr(os, "environ", {**others, **variables})
    environment.configure_patience()
    environment.configure_prefect(tmp_path)
    assert (os.environ[RETRIES], os.environ[TIMEOUT]) == expected
