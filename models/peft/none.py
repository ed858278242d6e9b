"""Method `none`: full fine-tuning. After stage 1, which trains only the head, stage 2 trains every weight."""

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
    """Train all parameters except those of timm's classifier, which do not affect the features.

    With `model.backbone=none`, the backbone has no parameters and is returned unchanged.

    Args:
        backbone: changed in place.
        params: no options.

    Returns:
        The same backbone.
    """
    from medtune.models.blocks.selection import set_trainable

    if next(backbone.parameters(), None) is None:
        return backbone
    return set_trainable(backbone, lambda name, parameter: True)


def merge(backbone: "nn.Module") -> "nn.Module":
    """Return `backbone` unchanged, because the method adds no layers."""
    return backbone
