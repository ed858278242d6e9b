"""Method `prefix`: learned keys and values in the attention of every block (Li & Liang 2021, arXiv 2101.00190).

Every head of every block gets p additional keys and values, to which all tokens attend. These keys and values are
parameters. In the paper, a small network computes them during training. The method cannot be merged.
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
    tokens: Annotated[int, Field(ge=1)] = Field(10, description="p, number of learned keys and values per head")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add the trainable keys and values and freeze everything else.

    Args:
        backbone: a ViT, changed in place.
        params: options of the method.

    Returns:
        The same backbone.

    Raises:
        InputError: the attention of the backbone is not timm's `Attention` (for example BEiT and EVA).
    """
    from timm.layers import Attention

    from medtune.config.errors import InputError
    from medtune.models.blocks.prefix_attention import PrefixedAttention
    from medtune.models.blocks.selection import vit_blocks

    backbone.requires_grad_(False)
    for _, block in vit_blocks(backbone):
        if type(block.attn) is not Attention:
            raise InputError(
                f"model.peft.method=prefix: it does not support the attention of {type(backbone).__name__}. "
                "Choose another method"
            )
        block.attn = PrefixedAttention(block.attn, params.tokens)
    return backbone
