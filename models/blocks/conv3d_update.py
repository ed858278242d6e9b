"""Corrected low-rank update of 3-D convolution kernels for the peft library."""

import torch
from peft.tuners.lora.layer import Conv3d
from torch import Tensor, nn


class _Conv3d(Conv3d):
    def get_delta_weight(self, adapter: str) -> Tensor:
        """Return the update (out, in, kx, ky, kz). The library's method fails for kernels of 1 x 1 x k."""
        down, up = self.lora_A[adapter].weight, self.lora_B[adapter].weight
        return torch.einsum("or,rixyz->oixyz", up[:, :, 0, 0, 0], down) * self.scaling[adapter]


def replace_update(backbone: nn.Module) -> nn.Module:
    """Replace the library's computation of the update in every adapted 3-D convolution.

    Args:
        backbone: a network in which the peft library injected updates; changed in place.

    Returns:
        The same backbone.
    """
    for module in backbone.modules():
        if type(module) is Conv3d:
            module.__class__ = _Conv3d
    return backbone
