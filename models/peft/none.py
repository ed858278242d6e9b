"""Method `none`: stage 2 trains every weight (full fine-tuning)."""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ()  # every backbone
LR_GRID = (3e-5, 2e-4, 1e-3)


class Params(PeftParams):
    """No options."""

    method: Literal["none"] = "none"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with all parameters trained that affect its features, without timm's own classifier."""
    from medtune.models.blocks.selection import set_trainable

    return set_trainable(backbone, lambda name, parameter: True)


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` as it is."""
    return backbone
