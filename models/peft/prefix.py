"""Method `prefix`: learned keys and values in the attention of every block (Li & Liang 2021, arXiv 2101.00190).

Every head of every block gets p keys and p values of its own, which all tokens attend to beside the image's. They are
trained as they are, without the paper's network behind them. No plain layer does the same, so it does not merge.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """Number of learned keys and values."""

    method: Literal["prefix"] = "prefix"
    tokens: Annotated[int, Field(ge=1)] = Field(10, description="p")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the keys and values trained, everything else frozen.

    Raises:
        InputError: the backbone's attention is not timm's plain one (BEiT, EVA).
    """
    from timm.layers import Attention

    from medtune.config.errors import InputError
    from medtune.models.blocks.prefix_attention import PrefixedAttention
    from medtune.models.blocks.selection import vit_blocks

    backbone.requires_grad_(False)
    for _, block in vit_blocks(backbone):
        if type(block.attn) is not Attention:
            raise InputError(f"model.peft.method: prefix does not know the attention of {type(backbone).__name__}")
        block.attn = PrefixedAttention(block.attn, params.tokens)
    return backbone
