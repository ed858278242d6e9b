"""Method `rslora`: low-rank updates scaled by alpha / sqrt(r).

Kalajdzievski 2023, arXiv 2312.03732. The peft library implements the method.
W = W0 + (alpha / sqrt(r)) B A, where A is (r, in) and B is (out, r). B starts at zero.
"""

from typing import Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
ALLOW_UNKNOWN_FAMILIES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the update."""

    method: Literal["rslora"] = "rslora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / sqrt(r)")


inject, merge = library.method(
    "LoraConfig", lambda params: {"r": params.rank, "lora_alpha": params.alpha, "use_rslora": True}
)
