"""Method `difffit`: biases, norms and a new scalar after each attention and MLP (Xie et al. 2023, arXiv 2304.06648).

The scalar starts at 1 and multiplies the output of a residual branch. This is equivalent to a multiplication of the
parameters of the branch's last layer, into which the scalar merges. In a ViT, the last layers are the attention
projection and fc2. In a CNN block, the last layer is the last norm or the layer scale. An activation after the norm
must be positively homogeneous, as (leaky) ReLU and PReLU are.
"""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
VOLUMES = True
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """No options."""

    method: Literal["difffit"] = "difffit"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train biases, norms and a scalar per residual branch, and freeze everything else."""
    import torch
    from torch import nn

    from medtune.models.blocks import parametrizations
    from medtune.models.blocks.selection import branch_ends, norm_names, set_trainable
    from medtune.models.blocks.volume_layers import bias_names, is_volume_network, volume_branch_ends

    names = norm_names(backbone) | bias_names(backbone)
    ends = volume_branch_ends(backbone) if is_volume_network(backbone) else branch_ends(backbone)
    set_trainable(backbone, lambda name, _: name in names)
    for layer, tensors in ends:
        scalar = nn.Parameter(torch.ones(1))
        for tensor in tensors:
            parametrizations.parametrize_tensor(layer, tensor, parametrizations.Scale(scalar))
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge the scalars into the weights of `backbone`."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)
