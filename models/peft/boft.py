"""Method `boft`: rotations of the weight, each a product of sparse butterfly factors.

Liu et al. 2024, arXiv 2311.06243. The peft library implements the method.
W = R1 R2 ... W0. Each factor R is an orthogonal matrix, block-diagonal after a permutation.
"""

from typing import Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

SUPPORTED_FAMILIES = ("vit",)
ALLOW_UNKNOWN_FAMILIES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the update."""

    method: Literal["boft"] = "boft"
    block: Annotated[int, Field(ge=2)] = Field(8, description="rows per block; must divide the layer's input size")
    factors: Annotated[int, Field(ge=1)] = 1


inject, merge = library.method(
    "BOFTConfig", lambda params: {"boft_block_size": params.block, "boft_n_butterfly_factor": params.factors}
)
