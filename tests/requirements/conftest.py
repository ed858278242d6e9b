"""The two programs beside the locks, which are no package, as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "requirements"


def load(name: str) -> ModuleType:
    """`requirements/<name>.py`, imported from its file."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """What asks for known vulnerabilities."""
    return load("audit")


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    """What writes the bill of materials."""
    return load("sbom")
