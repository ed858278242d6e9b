"""Trained changes of frozen weights, as torch parametrizations: no cost beyond the change, and merged to nothing.

A method gives a module whose forward maps a frozen tensor to the changed one; `bake_in` writes the changed tensor
into the layer and takes the module away.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from medtune.models.blocks.selection import CLASSIFIER_PREFIXES

AFFINE = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def affine_layers(backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every layer that scales and shifts: linear, convolution, norm with parameters."""
    for name, module in backbone.named_modules():
        if name.startswith(CLASSIFIER_PREFIXES):
            continue
        if isinstance(module, AFFINE) and isinstance(getattr(module, "weight", None), nn.Parameter):
            yield name, module


def parametrize_tensor(layer: nn.Module, tensor: str, module: nn.Module) -> None:
    """From now on `layer.<tensor>` is `module(<tensor>)`."""
    parametrize.register_parametrization(layer, tensor, module, unsafe=True)


def ensure_bias(layer: nn.Module) -> None:
    """Gives a linear layer or convolution without bias a frozen one of zeros."""
    if layer.bias is None:
        weight = layer.weight
        layer.bias = nn.Parameter(weight.new_zeros(weight.shape[0]), requires_grad=False)  # type: ignore[union-attr]


def bake_in(backbone: nn.Module) -> nn.Module:
    """`backbone` with every change written into its weights."""
    for module in list(backbone.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[union-attr,arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return backbone


class Scale(nn.Module):
    """Multiplies the first dimension, output channels, by `scale` (out,)."""

    def __init__(self, scale: nn.Parameter) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, tensor: Tensor) -> Tensor:
        """Of any shape (out, ...)."""
        return tensor * self.scale.view(-1, *[1] * (tensor.dim() - 1))


class ScaleShift(Scale):
    """Scales (out,) and adds `shift` (out,)."""

    def __init__(self, scale: nn.Parameter, shift: nn.Parameter) -> None:
        super().__init__(scale)
        self.shift = shift

    def forward(self, tensor: Tensor) -> Tensor:
        """(out,) -> (out,)."""
        return super().forward(tensor) + self.shift


class AdditiveUpdate(nn.Module):
    """Adds an update of the tensor's size, `scale` times what `delta()` gives."""

    def __init__(self, delta: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.delta = delta
        self.scale = scale

    def forward(self, tensor: Tensor) -> Tensor:
        """Of any shape."""
        return tensor + self.scale * torch.reshape(self.delta(), tensor.shape)
