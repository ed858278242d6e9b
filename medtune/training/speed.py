"""Values of `auto` for settings that affect the speed of a step, but not its result."""

import os
import shutil
from importlib.util import find_spec
from typing import Literal

import timm
import torch
from torch import nn

from medtune.models.backbones import family

CNN_FAMILIES = {"convnext", "resnet", "mobilenet"}


def use_channels_last(setting: bool | Literal["auto"], backbone: str, device: torch.device) -> bool:
    """Resolve `finetune.channels_last`, the memory format with channels innermost.

    Args:
        setting: `auto` enables it for CNN families on a GPU.
        backbone: timm name.
        device: torch device of the training.

    Returns:
        True if the format is used.
    """
    if setting != "auto":
        return setting
    known = timm.is_model(backbone.partition(".")[0])  # networks that read volumes are not timm models
    return device.type == "cuda" and known and family(backbone) in CNN_FAMILIES


def to_channels_last(network: nn.Module) -> None:
    """Convert the parameters and buffers of 2-D convolutions. Those of 3-D convolutions stay as they are."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)


def use_compile(setting: bool | Literal["auto"], device: torch.device) -> bool:
    """Resolve the setting for torch.compile; `auto` enables it on a GPU if Triton and a C compiler are installed."""
    if setting != "auto":
        return setting
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    return (
        device.type == "cuda"
        and find_spec("triton") is not None
        and any(shutil.which(name) for name in compilers if name)
    )
