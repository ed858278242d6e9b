"""Process rank, world size and barriers for distributed training with `accelerate launch` or torchrun.

With a single process, every function returns immediately and imports nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from medtune.runtime.device import device_class

# The other processes wait at a barrier while the main process computes features or waits for a lock. If the main
# process ends, the launcher ends the others.
TIMEOUT = timedelta(days=7)


def world_size() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return the rank of this process. Rank 0 is the main process, which writes results."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


@contextmanager
def process_group() -> Iterator[None]:
    """Connect the processes within the block, with gloo on CPUs and NCCL on GPUs."""
    if world_size() == 1:
        yield
        return
    from accelerate import PartialState

    state = PartialState(cpu=device_class() == "cpu", timeout=TIMEOUT)
    yield
    state.destroy_process_group()  # not after an error: the call would wait for the other processes


def barrier() -> None:
    """Wait until every process reaches this call."""
    if world_size() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


@contextmanager
def main_process_first() -> Iterator[None]:
    """Run the block in the main process first, then in the others."""
    if rank() > 0:
        barrier()
    yield
    if rank() == 0:
        barrier()
