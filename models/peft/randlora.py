"""Method `randlora`: full-rank updates that are scaled sums of random low-rank matrices.

Albert et al. 2025, arXiv 2502.00987. The peft library implements the method.
W = W0 + sum_i diag(b_i) B_i diag(d_i) A_i, where A_i and B_i are random and frozen. The sum is scaled by
alpha / r = 20, as in the paper. The library's default alpha would scale the sum by 640 / r.
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

    method: Literal["randlora"] = "randlora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


inject, merge = library.method("RandLoraConfig", lambda params: {"r": params.rank, "randlora_alpha": 20 * params.rank})
