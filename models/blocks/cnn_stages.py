"""Blocks and convolutions of the stages of timm's CNN families."""

import re

import torch
from torch import Tensor, nn

from medtune.config.errors import InputError

# Names of blocks in ConvNeXt and ResNetV2, in ResNet, and in EfficientNet and MobileNet. Stems and downsampling layers
# between stages do not match.
BLOCK_NAME = re.compile(r"(stages\.\d+\.blocks|layer\d+|blocks\.\d+)\.\d+")
# Side of the square image for `channel_counts` in pixels.
PROBE_SIZE = 64


def cnn_blocks(backbone: nn.Module) -> list[str]:
    """Return the names of the blocks, in the order of the network.

    Args:
        backbone: a timm CNN.

    Returns:
        Module names, for example `stages.0.blocks.1`.

    Raises:
        InputError: no module has a known block name.
    """
    if names := [name for name, _ in backbone.named_modules() if BLOCK_NAME.fullmatch(name)]:
        return names
    raise InputError(
        f"model.peft.method: it found no block to adapt in {type(backbone).__name__}. Choose another method"
    )


def spatial_convs(backbone: nn.Module) -> list[str]:
    """Return the names of the convolutions larger than 1x1 in the blocks."""
    return [
        f"{block}.{name}"
        for block in cnn_blocks(backbone)
        for name, module in backbone.get_submodule(block).named_modules()
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1
    ]


def channel_counts(backbone: nn.Module, names: list[str]) -> dict[str, tuple[int, int]]:
    """Measure the input and output channels of modules in a forward pass in eval mode.

    Args:
        backbone: a timm CNN.
        names: module names.

    Returns:
        Input and output channels by module name.
    """
    channels: dict[str, tuple[int, int]] = {}

    def add_hook(name: str) -> torch.utils.hooks.RemovableHandle:
        def record(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            channels[name] = (inputs[0].shape[1], output.shape[1])

        return backbone.get_submodule(name).register_forward_hook(record)

    handles = [add_hook(name) for name in names]
    training = backbone.training
    with torch.no_grad():
        backbone.eval()(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE, device=next(backbone.parameters()).device))
    backbone.train(training)
    for handle in handles:
        handle.remove()
    return channels
