"""Launch of a training stage with one or several processes: checks, and the lock of the output folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from medtune.config.errors import InputError
from medtune.config.head_aggregation import ATTENTION
from medtune.config.schema import Params
from medtune.runtime import distributed
from medtune.runtime.device import device_class
from medtune.runtime.lock import output_lock
from medtune.runtime.paths import RunPaths


@contextmanager
def distributed_launch(paths: RunPaths) -> Iterator[None]:
    """Connect the processes of this launch. The main process holds `artifacts/.lock` for all of them.

    Args:
        paths: where the stage writes.

    Raises:
        InputError: the folder is not writable.
    """
    with distributed.process_group():
        if distributed.rank() == 0:
            with output_lock(paths):
                distributed.barrier()
                yield
                distributed.barrier()  # before the lock is released, wait for processes that still read files
        else:
            distributed.barrier()
            yield
            distributed.barrier()


def check_launch(params: Params, finetunes: bool) -> None:
    """Check that the params and the device support the number of processes.

    Args:
        params: all params.
        finetunes: True if stage 2 is trained.

    Raises:
        InputError: several processes are not supported, or `accelerate` started one process instead of several.
    """
    if distributed.world_size() == 1:
        if os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_ADDR" in os.environ:
            raise InputError(
                "ACCELERATE_USE_CPU=true: accelerate launch --cpu ignores --num_processes and starts one process. For "
                "N processes on a CPU, use `MEDTUNE_DEVICE=cpu torchrun --nproc-per-node N -m medtune ...`"
            )
        return
    world_size = f"WORLD_SIZE={distributed.world_size()}"
    device = os.environ.get("MEDTUNE_DEVICE", "")
    if device.startswith("cuda:"):
        raise InputError(
            f"MEDTUNE_DEVICE={device}: every process needs a separate GPU, but {world_size}. Unset MEDTUNE_DEVICE and "
            "select GPUs with CUDA_VISIBLE_DEVICES"
        )
    if device_class() not in ("cpu", "cuda"):
        raise InputError(
            f"{world_size}: several processes are not supported on {device_class()}. Use NVIDIA GPUs or "
            "MEDTUNE_DEVICE=cpu"
        )
    if params.model.head.aggregation == ATTENTION:
        raise InputError(
            f"model.head.kind={params.model.head.kind}: this head supports only one process, but {world_size}. "
            "Start one process"
        )
    if finetunes and params.model.batchnorm == "train":
        raise InputError(
            f"model.batchnorm=train: every process would have different statistics, but {world_size}. "
            "Use model.batchnorm=frozen, or start one process"
        )
