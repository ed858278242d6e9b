"""Shared by all tests: the machine's quiet corners, and where the real data lies."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A test must not fail because the machine is busy.
settings.register_profile("medtune", deadline=None)
settings.load_profile("medtune")

os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["MEDTUNE_DEVICE"] = "cpu"

# Fixtures of tests in several folders.
pytest_plugins = ["tests.small_world"]
PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real images and weights; the test is skipped, with the reason, where there is none."""
    folder = Path(os.environ.get("MEDTUNE_SHARED") or PROJECT.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder}: set MEDTUNE_SHARED")
    return folder / "data"
