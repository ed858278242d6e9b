"""Method `shira`: sparse updates of the weight.

Bhardwaj et al. 2024, arXiv 2406.13175. The peft library implements the method.
W = W0 + S. S has trained entries at random positions, as many as LoRA with rank r has parameters.
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

    method: Literal["shira"] = "shira"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


inject, merge = library.method("ShiraConfig", lambda params: {"r": params.rank})
