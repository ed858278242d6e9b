"""Method `norm_bias`: training of every norm layer and every bias (`norm` and `bitfit` combined)."""

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

    method: Literal["norm_bias"] = "norm_bias"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train the norm layers and biases and freeze everything else."""
    from medtune.models.blocks.selection import norm_names, set_trainable
    from medtune.models.blocks.volume_layers import bias_names

    names = norm_names(backbone) | bias_names(backbone)
    return set_trainable(backbone, lambda name, _: name in names)


def merge(backbone: "nn.Module") -> "nn.Module":
    """Return `backbone` unchanged, because the method adds no layers."""
    return backbone
