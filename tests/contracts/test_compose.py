"""Check compose.yaml and the systemd units without running them."""

import configparser
import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from medtune.config.project import PROJECT
from medtune.flows import services

COMPOSE: dict[str, Any] = YAML(typ="safe", pure=True).load(PROJECT / "compose.yaml")
UNITS = sorted((PROJECT / "docs" / "systemd").glob("*.service"))


def test_compose__builds_a_stage_of_the_dockerfile() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (PROJECT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    targets = {service["build"]["target"] for service in COMPOSE["services"].values() if "build" in service}
    assert targets == {"train"}
    assert targets <= set(stages)


def test_compose__waits_for_services_that_have_a_health_check() -> None:
    for service in COMPOSE["services"].values():
        for name, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in COMPOSE["services"][name]


def test_compose__runs_commands_of_medtune_services() -> None:
    commands = [service["command"] for service in COMPOSE["services"].values() if "command" in service]
    assert [command[:2] for command in commands] == [["medtune", "services"]] * 2
    assert all(callable(getattr(services, command[2])) for command in commands)


def test_compose__runs_the_code_of_the_mounted_checkout() -> None:
    mounted = [service for service in COMPOSE["services"].values() if "build" in service]
    assert all(service["volumes"] == [".:/app"] for service in mounted)
    assert all(service["environment"]["PYTHONPATH"] == "/app" for service in mounted)


def test_compose__has_no_secret_and_no_public_port() -> None:
    text = (PROJECT / "compose.yaml").read_text(encoding="utf-8")
    assert re.findall(r"(?:PASSWORD|KEY|URL): (?!\$\{|postgresql|http://)\S+", text) == []
    assert all(
        port.startswith("127.0.0.1:") for service in COMPOSE["services"].values() for port in service.get("ports", [])
    )
    for ignored in (".gitignore", ".dockerignore"):
        assert ".env" in (PROJECT / ignored).read_text(encoding="utf-8").split()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd__restarts_a_medtune_service_from_a_home_folder(unit: Any) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit.read_text(encoding="utf-8"))
    assert parser["Service"]["Restart"] == "always"
    command = re.fullmatch(r"%h/medtune/\.venv/bin/medtune services (\w+)", parser["Service"]["ExecStart"])
    assert command is not None
    assert callable(getattr(services, command[1]))
    assert parser["Service"]["WorkingDirectory"] == "%h/medtune"


def test_systemd__has_both_units() -> None:
    assert [unit.stem for unit in UNITS] == ["medtune-server", "medtune-worker"]
