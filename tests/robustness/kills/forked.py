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
# report("step", number=3) sends an event.
Report = Callable[..., None]
LIMIT_S = 300.0
IMPORTED = (
    "cli.main", "data.duplicates", "export.onnx_graph", "export.precisions", "tasks.classification.export",
    "tasks.classification.report", "tasks.classification.training", "tasks.segmentation.network_outputs",
    "tasks.segmentation.training", "training.feature_cache", "training.run_stage", "training.solved_head",
)  # fmt: skip


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
        return [event for event in self.events if event["kind"] == kind]

    def end(self) -> str:
        """Return the exit code and the last lines of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return f"ended with {self.exit_code}: {' | '.join(lines[-3:])[-400:]}"


def fork(work: Callable[[Report], object], log: Path) -> Ended:
    """Run `work(report)` in a fork. An event with the value `kill_after` kills the fork after that many seconds.

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
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    for seed in (random.seed, np.random.seed, torch.manual_seed):  # two processes start with different random states
        seed(os.getpid())
    work(lambda kind, **values: sender.send({"kind": kind, "time": time.monotonic(), **values}))


def prepare_forks() -> None:
    """Import the modules of the stages, so that forks need not, without starting a thread."""
    import torch

    torch.set_num_threads(1)
    for module in IMPORTED:
        import_module(f"medtune.{module}")
