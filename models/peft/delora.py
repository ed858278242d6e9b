"""Method `delora`: normalised low-rank updates with a trained strength.

Bini et al. 2025, arXiv 2503.18225; by the peft library.
W = W0 + (lambda / r) B Xi A ||W0||, each of the r components of unit norm, ||W0|| by input channel (equation 8).
lambda, the strength, bounds the change relative to the weight. At the library's 15, the first step multiplies the loss
by ten or more, whatever the learning rate. Here lambda starts at 0.5.
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

    method: Literal["delora"] = "delora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    strength: Annotated[float, Field(gt=0)] = Field(
        0.5, description="initial lambda: largest change, as a share of the weight's norm; trained"
    )


inject, merge = library.method("DeloraConfig", lambda params: {"r": params.rank, "delora_lambda": params.strength})
