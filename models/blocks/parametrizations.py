"""Trained updates of frozen weights, as parametrizations of torch.

The forward method of a parametrization maps a frozen tensor to the updated tensor. `bake_in` writes the updated tensor
into the layer and removes the parametrization.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from medtune.models.blocks.selection import CLASSIFIER_PREFIXES, NORMS

MATRICES = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d)
AFFINE = (*MATRICES, *NORMS)


def affine_layers(backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of every linear layer, convolution and norm layer with parameters.

    timm's classifier is left out. Grouped transposed convolutions are left out too, because no dimension of their
    weights covers all output channels.
    """
    for name, module in backbone.named_modules():
        if f"{name}.".startswith(CLASSIFIER_PREFIXES):
            continue
        if isinstance(module, nn.ConvTranspose3d) and module.groups > 1:
            continue
        if isinstance(module, AFFINE) and isinstance(getattr(module, "weight", None), nn.Parameter):
            yield name, module


def output_dim(layer: nn.Module) -> int:
    """Return the dimension of the output channels in the weight: 1 in (in, out, k, k, k), otherwise 0."""
    return int(isinstance(layer, nn.ConvTranspose3d))


def parametrize_tensor(layer: nn.Module, tensor: str, module: nn.Module) -> None:
    """Replace the attribute `layer.<tensor>` by `module(<tensor>)`."""
    parametrize.register_parametrization(layer, tensor, module, unsafe=True)


def ensure_bias(layer: nn.Module) -> None:
    """Add a frozen bias of zeros to a linear layer or convolution without bias."""
    if layer.bias is None:
        weight = layer.weight
        layer.bias = nn.Parameter(weight.new_zeros(weight.shape[output_dim(layer)]), requires_grad=False)


def bake_in(backbone: nn.Module) -> nn.Module:
    """Write the updated tensors of all parametrizations into the weights, and remove the parametrizations."""
    for module in list(backbone.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return backbone


class Scale(nn.Module):
    """Multiplication of the output channels, dimension `dim` of a tensor, by `scale` (out,)."""

    def __init__(self, scale: nn.Parameter, dim: int = 0) -> None:
        super().__init__()
        self.scale = scale
        self.dim = dim

    def forward(self, tensor: Tensor) -> Tensor:
        """Return the scaled tensor in the same shape."""
        return tensor * self.scale.view(*[1] * self.dim, -1, *[1] * (tensor.dim() - 1 - self.dim))


class ScaleShift(Scale):
    """Multiplication by `scale` (out,) and addition of `shift` (out,)."""

    def __init__(self, scale: nn.Parameter, shift: nn.Parameter) -> None:
        super().__init__(scale)
        self.shift = shift

    def forward(self, tensor: Tensor) -> Tensor:
        """Return the scaled and shifted tensor (out,)."""
        return super().forward(tensor) + self.shift


class AdditiveUpdate(nn.Module):
    """Addition of `scale * delta()`, reshaped to the shape of the tensor."""

    def __init__(self, delta: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.delta = delta
        self.scale = scale

    def forward(self, tensor: Tensor) -> Tensor:
        """Return the updated tensor in the same shape."""
        return tensor + self.scale * torch.reshape(self.delta(), tensor.shape)
