"""Method `dora`: low-rank updates of the direction, a trained magnitude for each output channel.

Liu et al. 2024, arXiv 2402.09353; by the peft library.
W = m (W0 + (alpha / r) B A) / ||W0 + (alpha / r) B A||, norms by column; m (out,) and B A are trained.
"""

from typing import Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
OTHER_FAMILIES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the change."""

    method: Literal["dora"] = "dora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")


inject, merge = library.method(
    "LoraConfig", lambda params: {"r": params.rank, "lora_alpha": params.alpha, "use_dora": True}
)
