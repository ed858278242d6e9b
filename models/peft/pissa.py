"""Method `pissa`: low-rank updates that start as the principal components of the weight.

Meng et al. 2024, arXiv 2404.02948. The peft library implements the method.
W = W_res + B A, where B A starts as the r largest singular components of W0. W_res is the frozen remainder.
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

    method: Literal["pissa"] = "pissa"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


inject, merge = library.method(
    "LoraConfig", lambda params: {"r": params.rank, "lora_alpha": params.rank, "init_lora_weights": "pissa"}
)
