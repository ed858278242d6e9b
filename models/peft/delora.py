"""Method `delora`: normalized low-rank updates with a trained strength lambda.

Bini et al. 2025, arXiv 2503.18225. The peft library implements the method.
W = W0 + (lambda / r) B Xi A ||W0|| (equation 8). The diagonal matrix Xi normalizes each of the r components to unit
norm. ||W0|| is the norm per input channel. The strength lambda bounds the change relative to the weight. At first,
lambda is 0.5. With the library's default of 15, the first step multiplies the loss by ten or more at any learning rate.
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

    method: Literal["delora"] = "delora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    strength: Annotated[float, Field(gt=0)] = Field(
        0.5, description="initial value of the trained lambda, the largest change as a fraction of the weight's norm"
    )


inject, merge = library.method("DeloraConfig", lambda params: {"r": params.rank, "delora_lambda": params.strength})
