"""Method `compacter`: adapters made of sums of Kronecker products with shared factors.

Mahabadi et al. 2021, arXiv 2106.04647. A bottleneck of two layers, from C channels to h and back, follows attention and
MLP. The weight of a layer is W = sum_i A_i (x) (s_i t_i) with n terms, where (x) is the Kronecker product. All layers
share the factors A_i (n, n). The factors s_i (C / n, 1) and t_i (1, h / n) belong to one layer. As in the paper, the
norm layers are also trained, and h is 24. The second layer starts at zero. The authors initialize it close to zero.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Number of Kronecker terms and width of the bottleneck."""

    method: Literal["compacter"] = "compacter"
    terms: Annotated[int, Field(ge=1)] = Field(
        4, description="n, number of Kronecker terms; must divide the channels and `hidden`"
    )
    hidden: Annotated[int, Field(ge=1)] = Field(24, description="h, width of the bottleneck")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add two trainable hypercomplex bottlenecks per block, train the norm layers and freeze everything else.

    Args:
        backbone: a ViT, changed in place.
        params: options of the method.

    Returns:
        The same backbone.

    Raises:
        InputError: `terms` does not divide the channels and `hidden`.
    """
    from medtune.config.errors import InputError
    from medtune.models.blocks.adapters import SequentialAdapter
    from medtune.models.blocks.kronecker import HypercomplexBottleneck, shared_factors
    from medtune.models.blocks.selection import norm_names, set_trainable, vit_blocks

    norms = norm_names(backbone)
    set_trainable(backbone, lambda name, _: name in norms)
    channels = backbone.embed_dim
    if channels % params.terms or params.hidden % params.terms:
        raise InputError(
            f"model.peft.terms={params.terms}: it does not divide both {channels} channels and "
            f"hidden={params.hidden}. Use a common divisor of both"
        )
    shared = shared_factors(params.terms)
    for _, block in vit_blocks(backbone):
        for name in ("attn", "mlp"):
            adapter = HypercomplexBottleneck(channels, params.hidden, shared)
            setattr(block, name, SequentialAdapter(getattr(block, name), adapter))
    return backbone
