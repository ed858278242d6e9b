"""Method `convpass`: a 3x3 convolution over the grid of tokens, in a bottleneck parallel to attention and MLP.

Jie & Deng 2022, arXiv 2207.07039. The branch is a linear layer to h channels, QuickGELU, a 3x3 convolution over the
patch grid, QuickGELU and a linear layer `up`. The convolution is applied to the class token separately. The convolution
starts as the identity, and `up` starts at zero. The authors' code has a dropout of 0.1 on the hidden values, which is
left out here.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Width of the bottleneck and weight of its branch."""

    method: Literal["convpass"] = "convpass"
    hidden: Annotated[int, Field(ge=1)] = Field(8, description="h, width of the bottleneck")
    scale: Annotated[float, Field(gt=0)] = 1.0


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add two trainable convolutional bottlenecks per block and freeze everything else."""
    from medtune.models.blocks.adapters import ParallelAdapter
    from medtune.models.blocks.selection import vit_blocks
    from medtune.models.blocks.token_grid import TokenGridConv

    backbone.requires_grad_(False)
    prefix = backbone.num_prefix_tokens
    for _, block in vit_blocks(backbone):
        channels = block.mlp.fc2.out_features
        for name in ("attn", "mlp"):
            branch = TokenGridConv(channels, params.hidden, prefix)
            setattr(block, name, ParallelAdapter(getattr(block, name), branch, params.scale))
    return backbone
