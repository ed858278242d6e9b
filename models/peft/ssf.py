"""Method `ssf`: y = gamma * x + beta after every layer (Lian et al. 2022, arXiv 2210.08823).

After the patch embedding, norms, qkv, proj, fc1 and fc2 of a ViT, after every convolution and norm of a CNN. Scaling
and shifting what a layer gives is scaling its weight's rows and its bias, so it is written there and merges to nothing.
"""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
OTHER_FAMILIES = True
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """No options."""

    method: Literal["ssf"] = "ssf"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with a scale and a shift (out,) trained for every layer, everything else frozen."""
    import torch
    from torch import nn

    from medtune.models.blocks import parametrizations

    backbone.requires_grad_(False)
    for _, layer in list(parametrizations.affine_layers(backbone)):
        parametrizations.ensure_bias(layer)
        out = layer.weight.shape[0]
        scale, shift = nn.Parameter(torch.ones(out)), nn.Parameter(torch.zeros(out))
        parametrizations.parametrize_tensor(layer, "weight", parametrizations.Scale(scale))
        parametrizations.parametrize_tensor(layer, "bias", parametrizations.ScaleShift(scale, shift))
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with scales and shifts in its weights."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)
