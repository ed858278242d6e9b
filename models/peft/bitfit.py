"""Method `bitfit`: training of every bias (Ben Zaken et al. 2022, arXiv 2106.10199).

Shifts (beta) of norm layers count as biases. In a CNN without other biases, only these shifts are trained.
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

    method: Literal["bitfit"] = "bitfit"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train the biases and freeze everything else."""
    from medtune.models.blocks.selection import set_trainable

    return set_trainable(backbone, lambda name, _: name.endswith("bias"))


def merge(backbone: "nn.Module") -> "nn.Module":
    """Return `backbone` unchanged, because the method adds no layers."""
    return backbone
