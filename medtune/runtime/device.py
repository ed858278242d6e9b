"""The device that stages run on. `$MEDTUNE_DEVICE` overrides the automatic choice."""

import os
import platform
import sys
from pathlib import Path

from medtune.config.errors import InputError


def device_name() -> str:
    """`$MEDTUNE_DEVICE` (cpu, cuda, cuda:1, mps) or the best one there is. Imports torch.

    Where several processes train together, each has the GPU of its number on the machine.
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
    """`cpu`, `cuda` or `mps`: the kind of device the stages run on, for cache keys. Imports nothing heavy.

    `$MEDTUNE_DEVICE` without its index, else what the machine's device nodes say.
    """
    if named := os.environ.get("MEDTUNE_DEVICE"):
        return named.partition(":")[0]
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() not in ("", "-1") and _has_nvidia_gpu():
        return "cuda"
    return "mps" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"


def check_device() -> None:
    """Refuses a `$MEDTUNE_DEVICE` that is none, or a GPU where there is none. Imports nothing heavy.

    Raises:
        InputError: says what may stand there.
    """
    named = os.environ.get("MEDTUNE_DEVICE", "")
    kind, colon, index = named.partition(":")
    if named and (kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and index.isdigit()))):
        raise InputError(f"MEDTUNE_DEVICE is {named!r}: set cpu, cuda, cuda:N or mps, or leave it unset")
    if kind == "cuda" and not (_has_nvidia_gpu() or Path("/dev/kfd").exists()):
        raise InputError(f"MEDTUNE_DEVICE is {named!r}, but this machine shows no GPU; set cpu, or leave it unset")


def _has_nvidia_gpu() -> bool:
    # The control node is there in containers too; /dev/dxg is how WSL passes a GPU through.
    return any(Path(node).exists() for node in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg"))
