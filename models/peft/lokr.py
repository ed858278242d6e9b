"""Method `lokr`: updates that are Kronecker products with a low-rank factor.

Yeh et al. 2024, arXiv 2309.14859. The peft library implements the method.
W = W0 + (alpha / r) C (x) (B A), where (x) is the Kronecker product. C, B and A are trained.
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

    method: Literal["lokr"] = "lokr"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")


inject, merge = library.method("LoKrConfig", lambda params: {"r": params.rank, "alpha": params.alpha})
