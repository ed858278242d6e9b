"""Method `hra`: multiplication of the weight by trained Householder reflections.

Yuan et al. 2024, arXiv 2405.17484. The peft library implements the method.
W = W0 H1 ... Hr, where H_i = I - 2 u_i u_i^T and the unit vectors u_i are trained. They start as pairs of equal
vectors, whose reflections cancel. Therefore r must be even.
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

    method: Literal["hra"] = "hra"
    rank: Annotated[int, Field(ge=2, multiple_of=2)] = Field(
        8, description="r, number of reflections; must be even, because they start in pairs that cancel"
    )


inject, merge = library.method("HRAConfig", lambda params: {"r": params.rank})
