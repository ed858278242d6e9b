"""Settings and fixtures of all tests."""

import functools
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.robustness.profile import TORTURE

# A test must not fail because the machine is busy, nor pass or fail by chance. `make fuzz` tries new examples.
settings.register_profile("medtune", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=1000)
settings.register_profile(TORTURE, deadline=None, derandomize=True)
settings.load_profile("medtune")

os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["MEDTUNE_DEVICE"] = "cpu"

# Without stored bytecode, every test process would compile the package again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Fixtures of tests in several folders.
pytest_plugins = ["tests.small_world", "tests.trained_volumes", "tests.robustness.plugin", "pytester"]
PROJECT = Path(__file__).resolve().parent.parent


def pytest_collection_finish() -> None:
    """Cache the registry of ONNX functions and exclude imported objects from garbage collection."""
    if "medtune.export.onnx_graph" in sys.modules:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        # torch parses 500 ONNX functions for every export, which takes half of the export time.
        ONNXRegistry.from_torchlib = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
    exclude_from_collection()
    gc.set_threshold(10_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After the last test of a file, exclude what its tests imported and cached."""
    yield
    if nextitem is not None and nextitem.path != item.path:
        exclude_from_collection()


def exclude_from_collection() -> None:
    """Exclude all objects from garbage collection. Otherwise `gc.collect`, which training calls, takes up to 0.4 s."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Undo the exclusion: native libraries report objects alive at exit as leaks."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real images and weights, or skip the test if it does not exist."""
    folder = Path(os.environ.get("MEDTUNE_SHARED") or PROJECT.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data at {folder}: set MEDTUNE_SHARED")
    return folder / "data"
