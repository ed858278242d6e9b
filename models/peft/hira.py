"""Method `hira`: updates that are Hadamard products of a low-rank matrix and the weight itself.

Huang et al. 2025, ICLR. The peft library implements the method.
W = W0 + W0 * (B A), where * multiplies elements. The update has a high rank but few parameters.
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

    method: Literal["hira"] = "hira"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


inject, merge = library.method("HiraConfig", lambda params: {"r": params.rank})
