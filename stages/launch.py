"""One launch of a training stage, be it one process or several: what it may be, and its hold on the output folder."""

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
    """Connects the processes of this launch and holds `artifacts/.lock` for all of them.

    Raises:
        InputError: the folder cannot be written.
    """
    with distributed.process_group():
        if distributed.rank() == 0:
            with output_lock(paths):
                distributed.barrier()
                yield
                distributed.barrier()  # what the others still read stays as it is
        else:
            distributed.barrier()
            yield
            distributed.barrier()


def check_launch(params: Params, finetunes: bool) -> None:
    """Refuses what several processes cannot do, and a launch that was meant to be several and is one.

    Args:
        params: all params.
        finetunes: whether stage 2 is among what is trained.

    Raises:
        InputError: says what to set, or how to start it.
    """
    if distributed.world_size() == 1:
        if os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_ADDR" in os.environ:
            raise InputError(
                "accelerate launch --cpu starts one process whatever --num_processes says: write --multi_gpu for "
                "--cpu, with MEDTUNE_DEVICE=cpu in the environment, or start it with torchrun --nproc-per-node"
            )
        return
    started = f"WORLD_SIZE is {distributed.world_size()}"
    named = os.environ.get("MEDTUNE_DEVICE", "")
    if named.startswith("cuda:"):
        raise InputError(f"MEDTUNE_DEVICE is {named}, but {started}: each process takes a GPU of its own; unset it, "
                         "and choose among GPUs with CUDA_VISIBLE_DEVICES")  # fmt: skip
    if device_class() not in ("cpu", "cuda"):
        raise InputError(f"{started}, and the device is {device_class()}: several processes need GPUs of NVIDIA or "
                         "MEDTUNE_DEVICE=cpu")  # fmt: skip
    if params.model.head.aggregation == ATTENTION:
        raise InputError(f"model.head.kind={params.model.head.kind}: it is trained in one process, but {started}. "
                         "Start one process")  # fmt: skip
    if finetunes and params.model.batchnorm == "train":
        raise InputError(f"model.batchnorm is train, but {started}: each process would have statistics of its own; "
                         "set model.batchnorm=frozen, or start one process")  # fmt: skip
