"""Method `ia3`: learned scales of keys, values and MLP hidden units (Liu et al. 2022, arXiv 2205.05638).

The peft library implements the method. In timm, one layer projects to queries, keys and values. Its complete output is
scaled (3 C numbers), including the queries. The input of fc2, the hidden units of the MLP, is also scaled. In a CNN,
the outputs of the convolutions are scaled. The scales start at 1 and merge into the weights.
"""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
ALLOW_UNKNOWN_FAMILIES = True
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """No options."""

    method: Literal["ia3"] = "ia3"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add the trainable scales and freeze everything else."""
    from peft import IA3Config

    from medtune.models.blocks.peft_library import inject_adapter
    from medtune.models.blocks.target_layers import default_targets, feedforward_targets

    hidden = feedforward_targets(backbone)
    names = list(dict.fromkeys(default_targets(backbone) + hidden))
    return inject_adapter(backbone, IA3Config(feedforward_modules=hidden), names)


merge = library.merge
