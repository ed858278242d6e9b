"""Method `norm_bias_attention`: `norm`, `bitfit` and `attention` combined."""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (1e-4, 5e-4, 3e-3)


class Params(PeftParams):
    """No options."""

    method: Literal["norm_bias_attention"] = "norm_bias_attention"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train norm layers, biases and attention and freeze everything else."""
    from medtune.models.blocks.selection import is_attention, norm_names, set_trainable

    norms = norm_names(backbone)
    return set_trainable(backbone, lambda name, _: name in norms or name.endswith("bias") or is_attention(name))


def merge(backbone: "nn.Module") -> "nn.Module":
    """Return `backbone` unchanged, because the method adds no layers."""
    return backbone
