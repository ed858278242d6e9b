"""Method `bitfit`: training of every bias (Ben Zaken et al. 2022, arXiv 2106.10199).

Shifts (beta) of norm layers count as biases. In a CNN without other biases, only these shifts are trained.
In a network that reads volumes, a bias directly before an instance norm has no effect and stays frozen.
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

    method: Literal["bitfit"] = "bitfit"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train the biases and freeze everything else."""
    from medtune.models.blocks.selection import set_trainable
    from medtune.models.blocks.volume_layers import bias_names

    biases = bias_names(backbone)
    return set_trainable(backbone, lambda name, _: name in biases)


def merge(backbone: "nn.Module") -> "nn.Module":
    """Return `backbone` unchanged, because the method adds no layers."""
    return backbone
