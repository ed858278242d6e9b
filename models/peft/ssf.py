"""Method `ssf`: y = gamma * x + beta after every layer (Lian et al. 2022, arXiv 2210.08823).

The layers are the patch embedding, norms, qkv, proj, fc1 and fc2 of a ViT, or every convolution and norm of a CNN. A
scale and shift of a layer's output is equivalent to a change of its weight and bias. Therefore scale and shift are
parametrizations of weight and bias, and merge into them. In a network that reads volumes, a convolution directly before
an instance norm is left out, because the norm removes scale and shift.
"""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
ALLOW_UNKNOWN_FAMILIES = True
VOLUMES = True
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """No options."""

    method: Literal["ssf"] = "ssf"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add a trainable scale and shift (out,) to every layer and freeze everything else."""
    import torch
    from torch import nn

    from medtune.models.blocks import parametrizations
    from medtune.models.blocks.volume_layers import normalized_layers

    normalized = normalized_layers(backbone)
    # The attention of BEiT and EVA adds the biases of q and v itself and ignores that of qkv.
    without_bias = {module.qkv for module in backbone.modules() if getattr(module, "q_bias", None) is not None}
    backbone.requires_grad_(False)
    for name, layer in list(parametrizations.affine_layers(backbone)):
        if name in normalized:
            continue
        dim = parametrizations.output_dim(layer)
        out = layer.weight.shape[dim]
        scale, shift = nn.Parameter(torch.ones(out)), nn.Parameter(torch.zeros(out))
        parametrizations.parametrize_tensor(layer, "weight", parametrizations.Scale(scale, dim))
        if layer not in without_bias:
            parametrizations.ensure_bias(layer)
            parametrizations.parametrize_tensor(layer, "bias", parametrizations.ScaleShift(scale, shift))
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge scales and shifts into the weights of `backbone`."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)
