"""The small form of a scenario, in this process or in one of its own."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from torture.outcome import Outcome
from torture.registry import load

# A function of the product, as its module and its name: it does nothing.
Idle = tuple[str, str]


def small(name: str, folder: Path, part: str | None = None) -> Outcome:
    """Runs a scenario's small form, or one part of it, in this process."""
    scenario, whole = load(name), Outcome()
    for one in [part] if part else scenario.parts(False):
        whole.add(scenario.run(one, folder / one, full=False))
    return whole


def small_alone(name: str, folder: Path, part: str | None = None, idle: Idle | None = None) -> Outcome:
    """The same in a process of its own, for a scenario that forks: a fork of this one may lack threads of it."""
    return alone(_without, idle, small, name, folder, part)


def alone(work: Callable[..., Outcome], *args: Any) -> Outcome:
    """Return `work(*args)`, run in a new process.

    The process is a fork of one that has imported the large libraries and nothing of the product.
    """
    multiprocessing.set_forkserver_preload(["tests.torture.libraries"])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as processes:
        return processes.submit(work, *args).result()


def make_idle(idle: Idle) -> None:
    """Takes a function of the product away, for good: in a process of its own only."""
    module, name = idle
    owner = import_module(module)
    assert callable(getattr(owner, name))
    setattr(owner, name, lambda *_: None)


def _without(idle: Idle | None, work: Callable[..., Outcome], *args: Any) -> Outcome:
    if idle:
        make_idle(idle)
    return work(*args)
