"""Method `hra`: chains of Householder reflections of the weight.

Yuan et al. 2024, arXiv 2405.17484; by the peft library.
W = W0 H1 ... Hr, H_i = I - 2 u_i u_i^T with trained unit vectors u_i. They start in equal pairs, which cancel:
r must be even.
"""

from typing import Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

SUPPORTED_FAMILIES = ("vit",)
OTHER_FAMILIES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the change."""

    method: Literal["hra"] = "hra"
    rank: Annotated[int, Field(ge=2, multiple_of=2)] = Field(
        8, description="r; even, because reflections start in pairs that cancel"
    )


inject, merge = library.method("HRAConfig", lambda params: {"r": params.rank})
