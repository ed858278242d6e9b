"""Several processes that train together, as `accelerate launch` or torchrun start them: who is who, and waiting.

With one process, everything here returns at once and imports nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from medtune.runtime.device import device_class

# The others wait while the first computes features or waits for a lock; the launcher ends them where it dies.
TIMEOUT = timedelta(days=7)


def world_size() -> int:
    """Number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process; the first, 0, is the one that writes."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


@contextmanager
def process_group() -> Iterator[None]:
    """Connects the processes for as long as it is open: gloo on CPUs, nccl on GPUs."""
    if world_size() == 1:
        yield
        return
    from accelerate import PartialState

    state = PartialState(cpu=device_class() == "cpu", timeout=TIMEOUT)
    yield
    state.destroy_process_group()  # not after an error: the others are elsewhere, and the launcher ends them


def barrier() -> None:
    """Returns when every process is here."""
    if world_size() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


@contextmanager
def main_process_first() -> Iterator[None]:
    """Lets the first process through alone, and the others when it is done."""
    if rank() > 0:
        barrier()
    yield
    if rank() == 0:
        barrier()
