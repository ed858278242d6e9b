"""Method `vera`: trained scales of shared random low-rank matrices.

Kopiczko et al. 2024, arXiv 2310.11454. The peft library implements the method.
W = W0 + diag(b) B diag(d) A. All layers share A and B, which are random and frozen. Only b (out,) and d (r,) are
trained, separately in each layer.
"""

from typing import Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

SUPPORTED_FAMILIES = ("vit",)
ALLOW_UNKNOWN_FAMILIES = True
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """Size of the update."""

    method: Literal["vera"] = "vera"
    rank: Annotated[int, Field(ge=1)] = Field(64, description="r")


inject, merge = library.method("VeraConfig", lambda params: {"r": params.rank})
