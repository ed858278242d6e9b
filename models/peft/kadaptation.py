"""Method `kadaptation`: updates of the attention as sums of Kronecker products (He et al. 2022, arXiv 2203.16329).

Delta W = sum_i A_i (x) (u_i v_i), A_i (n, n) shared by all layers, u_i v_i of low rank; v starts at zero; merges. One
update covers queries, keys and values together. The authors' code has one for the queries and one for the values, none
for the keys.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Number of Kronecker terms and rank of their second factors."""

    method: Literal["kadaptation"] = "kadaptation"
    terms: Annotated[int, Field(ge=1)] = Field(4, description="n; divides the channels")
    rank: Annotated[int, Field(ge=1)] = 1


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the updates of every qkv projection trained, everything else frozen.

    Raises:
        InputError: `terms` does not divide the channels.
    """
    from medtune.config.errors import InputError
    from medtune.models.blocks.kronecker import KroneckerDelta, shared_factors
    from medtune.models.blocks.parametrizations import AdditiveUpdate, parametrize_tensor
    from medtune.models.blocks.selection import vit_blocks

    backbone.requires_grad_(False)
    if backbone.embed_dim % params.terms:
        raise InputError(f"model.peft.terms is {params.terms}: it must divide the {backbone.embed_dim} channels")
    shared = shared_factors(params.terms)
    for _, block in vit_blocks(backbone):
        out, inner = block.attn.qkv.weight.shape
        parametrize_tensor(block.attn.qkv, "weight", AdditiveUpdate(KroneckerDelta(out, inner, shared, params.rank)))
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the updates in its weights."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)
