"""Method `adaptformer`: a scaled bottleneck parallel to the MLP (Chen et al. 2022, arXiv 2205.13535)."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Width of the bottleneck and weight of its branch."""

    method: Literal["adaptformer"] = "adaptformer"
    hidden: Annotated[int, Field(ge=1)] = 64
    scale: Annotated[float, Field(gt=0)] = 0.1


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add a trainable bottleneck per block and freeze everything else."""
    from torch import nn

    from medtune.models.blocks.adapters import Bottleneck, ParallelAdapter
    from medtune.models.blocks.selection import vit_blocks

    backbone.requires_grad_(False)
    for _, block in vit_blocks(backbone):
        bottleneck = Bottleneck(block.mlp.fc2.out_features, params.hidden, nn.ReLU())
        block.mlp = ParallelAdapter(block.mlp, bottleneck, params.scale)
    return backbone
