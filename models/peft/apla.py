"""Method `apla`: training of the attention's output projection only (Sorkhei et al. 2025, arXiv 2503.18873)."""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (1e-4, 5e-4, 3e-3)


class Params(PeftParams):
    """No options."""

    method: Literal["apla"] = "apla"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train `blocks.*.attn.proj` and freeze everything else."""
    from medtune.models.blocks.selection import set_trainable

    return set_trainable(backbone, lambda name, _: name.startswith("blocks.") and ".attn.proj." in name)


def merge(backbone: "nn.Module") -> "nn.Module":
    """Return `backbone` unchanged, because the method adds no layers."""
    return backbone
