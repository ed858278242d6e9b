"""Method `shira`: a sparse part of the weight itself.

Bhardwaj et al. 2024, arXiv 2406.13175; by the peft library.
W = W0 + S, S with as many trained entries as LoRA of rank r would have, at random places.
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

    method: Literal["shira"] = "shira"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


inject, merge = library.method("ShiraConfig", lambda params: {"r": params.rank})
