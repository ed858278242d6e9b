"""Method `boft`: rotations of the weight as butterfly factors.

Liu et al. 2024, arXiv 2311.06243; by the peft library.
W = R1 R2 ... W0, each factor block-diagonal and orthogonal, permuted between.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

FAMILIES = ("vit",)
LRS = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the change."""

    method: Literal["boft"] = "boft"
    block: Annotated[int, Field(ge=2)] = Field(8, description="rows of a block; divides the layer's inputs")
    factors: Annotated[int, Field(ge=1)] = 1


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import BOFTConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, BOFTConfig(boft_block_size=params.block, boft_n_butterfly_factor=params.factors))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
