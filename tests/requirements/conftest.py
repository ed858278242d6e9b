"""Fixtures for the scripts in requirements/, and uv for tests that need the package registry."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "requirements"


# torch and onnxruntime need macOS 14. uv assumes 13 by default.
ENVIRONMENT = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
UNREACHABLE = ("error sending request", "dns error", "Connection refused", "timed out", "Failed to fetch")


def run_uv(*arguments: str | Path) -> str:
    """Return the output of uv. Skip the test if the package registry is unreachable."""
    uv = Path(sys.executable).with_name("uv")
    process = subprocess.run(
        [uv, *arguments], cwd=FOLDER.parent, env=ENVIRONMENT, capture_output=True, text=True, timeout=500
    )
    if process.returncode != 0 and any(reason in process.stderr for reason in UNREACHABLE):
        pytest.skip(f"the package registry is unreachable: {process.stderr.strip().splitlines()[-1]}")
    assert process.returncode == 0, process.stderr
    return process.stdout


def load(name: str) -> ModuleType:
    """Return `requirements/<name>.py` as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """Return the script that queries known vulnerabilities."""
    return load("audit")


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    """Return the script that writes the bill of materials."""
    return load("sbom")


@pytest.fixture(scope="module")
def sizes() -> ModuleType:
    """Return the script that computes download sizes."""
    return load("sizes")
