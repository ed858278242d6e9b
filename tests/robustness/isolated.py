"""Run a function in a new process, for tests that fork, change the product or measure memory."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")


def isolated(function: Callable[..., T], *args: Any) -> T:
    """Return `function(*args)`, run in a new process.

    The process is a fork of one that has imported the large libraries and nothing of the product.
    """
    multiprocessing.set_forkserver_preload(["tests.robustness.libraries"])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as processes:
        return processes.submit(function, *args).result()


def disable(module: str, name: str) -> None:
    """Replace a function of the product by one that does nothing. Call it inside `isolated` only."""
    owner = import_module(module)
    assert callable(getattr(owner, name))
    setattr(owner, name, lambda *_, **__: None)
