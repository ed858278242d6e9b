"""Method `attention`: training of the query, key, value and output projections (Touvron 2022, arXiv 2203.09795)."""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (1e-4, 5e-4, 3e-3)


class Params(PeftParams):
    """No options."""

    method: Literal["attention"] = "attention"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train `blocks.*.attn.*` and freeze everything else."""
    from medtune.models.blocks.selection import is_attention, set_trainable

    return set_trainable(backbone, lambda name, _: is_attention(name))


def merge(backbone: "nn.Module") -> "nn.Module":
    """Return `backbone` unchanged, because the method adds no layers."""
    return backbone
