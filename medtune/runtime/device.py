"""Device selection. `$MEDTUNE_DEVICE` overrides the automatic choice."""

import os
import platform
import sys
from pathlib import Path

from medtune.config.errors import InputError


def device_name() -> str:
    """Return the torch device for this process. Imports torch.

    Returns:
        `$MEDTUNE_DEVICE` (cpu, cuda, cuda:1, mps) or the best device of the machine. In distributed training on GPUs,
        `cuda:$LOCAL_RANK`.
    """
    import torch

    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and device_class() == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        return f"cuda:{os.environ['LOCAL_RANK']}"
    if named := os.environ.get("MEDTUNE_DEVICE"):
        if named.startswith("cuda:"):
            torch.cuda.set_device(named)
        return named
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_class() -> str:
    """Return the device class for cache keys. Does not import torch.

    Returns:
        `$MEDTUNE_DEVICE` without its index if it is set. Otherwise `cpu`, `cuda` or `mps`, from the device nodes.
    """
    if named := os.environ.get("MEDTUNE_DEVICE"):
        return named.partition(":")[0]
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() not in ("", "-1") and _has_nvidia_gpu():
        return "cuda"
    return "mps" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"


def check_device() -> None:
    """Raise if `$MEDTUNE_DEVICE` is invalid or names a GPU that this machine lacks. Does not import torch.

    Raises:
        InputError: the variable is invalid, or names a GPU on a machine without a GPU.
    """
    named = os.environ.get("MEDTUNE_DEVICE", "")
    kind, colon, index = named.partition(":")
    if named and (kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and index.isdigit()))):
        raise InputError(f"MEDTUNE_DEVICE={named}: expected cpu, cuda, cuda:N or mps. Fix or unset it")
    if kind == "cuda" and not (_has_nvidia_gpu() or Path("/dev/kfd").exists()):  # /dev/kfd: AMD GPUs
        raise InputError(f"MEDTUNE_DEVICE={named}: this machine has no GPU. Use MEDTUNE_DEVICE=cpu, or unset it")


def _has_nvidia_gpu() -> bool:
    # A container without the first GPU has no nvidia0, but the control node nvidiactl. /dev/dxg is the GPU of WSL.
    return any(Path(node).exists() for node in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"))
