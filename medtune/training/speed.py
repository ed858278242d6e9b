"""What `auto` comes to for settings that change how fast a step is, and not what it computes."""

import os
import shutil
from importlib.util import find_spec
from typing import Literal

import torch

from medtune.models.backbones import family

CNN_FAMILIES = {"convnext", "resnet", "mobilenet"}


def use_channels_last(setting: bool | Literal["auto"], backbone: str, device: torch.device) -> bool:
    """Whether weights and images lie with channels innermost: as set; `auto`: CNN families on a GPU.

    Args:
        setting: finetune.channels_last.
        backbone: timm name.
        device: that trains.
    """
    return device.type == "cuda" and family(backbone) in CNN_FAMILIES if setting == "auto" else setting


def use_compile(setting: bool | Literal["auto"], device: torch.device) -> bool:
    """Whether training steps run through torch.compile: as set; `auto`: on a GPU, where Triton finds a C compiler."""
    if setting != "auto":
        return setting
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    return (
        device.type == "cuda"
        and find_spec("triton") is not None
        and any(shutil.which(name) for name in compilers if name)
    )
