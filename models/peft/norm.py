"""Method `norm`: training of the scale and shift of every norm layer.

The norm layers are LayerNorm in a ViT (Basu et al. 2023, arXiv 2304.01917) and BatchNorm in most CNNs (Frankle et al.
2021, arXiv 2003.00152). Networks that read volumes mostly have InstanceNorm or GroupNorm. The statistics of BatchNorm
are updated only with `model.batchnorm=train`.
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

    method: Literal["norm"] = "norm"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train the norm layers and freeze everything else."""
    from medtune.models.blocks.selection import norm_names, set_trainable

    norms = norm_names(backbone)
    return set_trainable(backbone, lambda name, _: name in norms)


def merge(backbone: "nn.Module") -> "nn.Module":
    """Return `backbone` unchanged, because the method adds no layers."""
    return backbone
