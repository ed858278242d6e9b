"""Method `loha`: updates that are Hadamard products of two low-rank matrices.

Hyeon-Woo et al. 2022, arXiv 2108.06098. The peft library implements the method.
W = W0 + (alpha / r) (B1 A1) * (B2 A2), where * multiplies elements. All four matrices are trained.
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

    method: Literal["loha"] = "loha"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")


inject, merge = library.method("LoHaConfig", lambda params: {"r": params.rank, "alpha": params.alpha})
