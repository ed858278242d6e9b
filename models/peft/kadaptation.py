"""Method `kadaptation`: updates of the attention as sums of Kronecker products (He et al. 2022, arXiv 2203.16329).

The update of a weight is sum_i A_i (x) (u_i v_i), where (x) is the Kronecker product. All layers share A_i (n, n).
u_i v_i has low rank, and v_i starts at zero. The update merges into the weights. A single update covers queries, keys
and values. The authors' code has separate updates for the queries and the values, and no update for the keys.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Number of Kronecker terms and rank of the second factor of each term."""

    method: Literal["kadaptation"] = "kadaptation"
    terms: Annotated[int, Field(ge=1)] = Field(4, description="n, number of Kronecker terms; must divide the channels")
    rank: Annotated[int, Field(ge=1)] = 1


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add a trainable update to every qkv projection and freeze everything else.

    Args:
        backbone: a ViT, changed in place.
        params: options of the method.

    Returns:
        The same backbone.

    Raises:
        InputError: `terms` does not divide the channels.
    """
    from medtune.config.errors import InputError
    from medtune.models.blocks.kronecker import KroneckerDelta, shared_factors
    from medtune.models.blocks.parametrizations import AdditiveUpdate, parametrize_tensor
    from medtune.models.blocks.selection import vit_blocks

    backbone.requires_grad_(False)
    if backbone.embed_dim % params.terms:
        raise InputError(
            f"model.peft.terms={params.terms}: it does not divide {backbone.embed_dim} channels. "
            f"Use a divisor of {backbone.embed_dim}"
        )
    shared = shared_factors(params.terms)
    for _, block in vit_blocks(backbone):
        out, inner = block.attn.qkv.weight.shape
        parametrize_tensor(block.attn.qkv, "weight", AdditiveUpdate(KroneckerDelta(out, inner, shared, params.rank)))
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge the updates into the weights of `backbone`."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)
