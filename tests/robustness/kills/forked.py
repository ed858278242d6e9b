"""Forks of this process that report events through a pipe and can be killed at any moment."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# {"kind": "step", "time": seconds of the monotonic clock, ...}
Event = dict[str, Any]
Report = Callable[..., None]
LIMIT_S = 300.0


@dataclass(frozen=True)
class Ended:
    """A fork that has ended: its events in order, its exit code, its start in seconds since 1970 and its log file."""

    events: list[Event]
    exit_code: int | None
    started: float
    log: Path

    @property
    def was_killed(self) -> bool:
        return self.exit_code == -signal.SIGKILL

    def select(self, kind: str) -> list[Event]:
        """Return the events of one kind."""
        return [event for event in self.events if event["kind"] == kind]

    def end(self) -> str:
        """Return the exit code and the end of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return f"ended with {self.exit_code}: {' | '.join(lines[-3:])[-400:]}"


def fork(work: Callable[[Report], object], log: Path) -> Ended:
    """Run `work(report)` in a fork of this process.

    `report("saved", step=3)` sends an event. The fork is killed `kill_after` seconds after the first event that has a
    value of that name.

    Args:
        work: function to run.
        log: file for the output of the fork.

    Returns:
        The fork after its end.

    Raises:
        TimeoutError: the fork did not end within `LIMIT_S`.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(work, sender, log))
    started, events = time.time(), []
    kill_at = deadline = time.monotonic() + LIMIT_S
    process.start()
    sender.close()
    with receiver, suppress(EOFError):
        while True:
            if not receiver.poll(max(kill_at - time.monotonic(), 0)):
                process.kill()
            events.append(receiver.recv())  # after a kill: the events from before it, then EOFError
            if kill_at == deadline and events[-1].get("kill_after") is not None:
                kill_at = time.monotonic() + events[-1]["kill_after"]
    process.join()
    if time.monotonic() > deadline:
        raise TimeoutError(f"{log}: the process did not end within {LIMIT_S:.0f} s")
    return Ended(events, process.exitcode, started, log)


def _run(work: Callable[[Report], object], sender: "Connection[Event, Any]", log: Path) -> None:
    import numpy as np
    import torch

    with log.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    # Two processes start with different random states, and so must two forks.
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(os.getpid())
    work(lambda kind, **values: sender.send({"kind": kind, "time": time.monotonic(), **values}))


def prepare_forks() -> None:
    """Import the modules of the stages, so that no fork imports them, without starting a thread."""
    import torch

    torch.set_num_threads(1)
    for module in ("export.onnx_graph", "tasks.classification.report", "tasks.classification.training"):
        import_module(f"medtune.{module}")
    for module in ("export.precisions", "tasks.classification.export", "training.run_stage"):
        import_module(f"medtune.{module}")
