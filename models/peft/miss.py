"""Method `miss`: updates that repeat one small trained matrix.

Kang & Yin 2024, arXiv 2409.15371. The peft library implements the method.
The inputs of a layer are divided into shards of r channels. The same trained matrix (out, r) is added to the weights of
each shard.
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

    method: Literal["miss"] = "miss"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r, number of input channels per shard")


inject, merge = library.method("MissConfig", lambda params: {"r": params.rank})
