"""A forked copy of this process: it has everything imported, tells what it does through a pipe, and can be killed."""

import ctypes
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# {"what": ..., "t": seconds of the monotonic clock, ...}
Event = dict[str, Any]
Tell = Callable[..., None]
# Asked with each event; seconds from now until it is killed, or None.
Aim = Callable[[Event], float | None]
LIMIT_S = 180.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        told: its events, in order.
        code: exit code; minus the signal's number where one ended it; None where it hung.
        began: when, seconds since 1970.
        log: what it printed.
    """

    told: list[Event]
    code: int | None
    began: float
    log: Path

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL

    def words(self) -> str:
        """Its end, in a line."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        how = "hung" if self.code is None else f"ended with {self.code}"
        return f"{how}: {' | '.join(lines[-3:])[-400:]}"

    def events(self, what: str) -> list[Event]:
        """Those of one kind."""
        return [event for event in self.told if event["what"] == what]


def fork(work: Callable[[Tell], None], log: Path, aim: Aim = lambda event: None, limit_s: float = LIMIT_S) -> Ended:
    """Runs `work(tell)` in a child of this process, and kills it where `aim` says so.

    Args:
        work: told events are one call each: `tell("saved", step=3)`.
        log: file for what it prints.
        aim: gives the time to kill it at.
        limit_s: a child that lives longer hangs.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    own, its = os.pipe()
    limit, began = time.monotonic() + limit_s, time.time()
    pid = os.fork()
    if pid == 0:
        os.close(own)
        _be_child(work, its, log)
    os.close(its)
    try:
        text, hung = _listen(pid, own, aim, limit)
    finally:
        os.close(own)
        os.kill(pid, signal.SIGKILL)  # still there until it is waited for; nothing happens where it has ended
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    told = [json.loads(line) for line in text.split(b"\n")[:-1]]
    return Ended(told, None if hung else code, began, log)


def _listen(pid: int, pipe: int, aim: Aim, limit: float) -> tuple[bytes, bool]:
    """Everything that the child told, and whether it hung."""
    text, seen, kill_at = b"", 0, limit
    while True:
        ready, _, _ = select.select([pipe], [], [], max(kill_at - time.monotonic(), 0))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            hung, kill_at = kill_at == limit, float("inf")
            while part := os.read(pipe, 1 << 16):  # what it told before
                text += part
            return text, hung
        part = os.read(pipe, 1 << 16)
        if not part:
            return text, False
        text += part
        *lines, _ = text[seen:].split(b"\n")
        for line in lines:
            seen += len(line) + 1
            delay = aim(json.loads(line)) if kill_at == limit else None
            if delay is not None:
                kill_at = time.monotonic() + delay


def _be_child(work: Callable[[Tell], None], pipe: int, log: Path) -> None:
    """Runs `work` and ends this process: never comes back."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(out, stream)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
        _own_state()

        def tell(what: str, **values: Any) -> None:
            os.write(pipe, json.dumps({"what": what, "t": time.monotonic(), **values}).encode() + b"\n")

        work(tell)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _own_state() -> None:
    """One thread, and other random numbers than the parent's: two runs begin as differently as two processes do."""
    random.seed(os.getpid())
    if "numpy" in sys.modules:
        import numpy as np

        np.random.seed(os.getpid())
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(os.getpid())


def import_all() -> None:
    """Imports here what the stages import when they run, so that no child has to. No threads are started."""
    import accelerate  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import peft  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import timm  # noqa: F401
    import torch.onnx

    torch.set_num_threads(1)
    from medtune.export import (
        onnx_graph,  # noqa: F401
        precisions,  # noqa: F401
    )
    from medtune.tasks.classification import evaluation, export, outputs, report, training  # noqa: F401
    from medtune.training import feature_cache, run_stage, trainer_state  # noqa: F401
