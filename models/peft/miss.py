"""Method `miss`: updates that repeat one small trained matrix.

Kang & Yin 2024, arXiv 2409.15371. The peft library implements the method.
W = W0 + D, where the small matrix D is expanded over the inputs in shards of r.
"""

from typing import Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

SUPPORTED_FAMILIES = ("vit",)
OTHER_FAMILIES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the update."""

    method: Literal["miss"] = "miss"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


inject, merge = library.method("MissConfig", lambda params: {"r": params.rank})
