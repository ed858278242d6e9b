"""Method `lora`: low-rank updates W + (alpha / r) B A (Hu et al. 2021, arXiv 2106.09685).

The peft library implements the method. A is (r, in). B is (out, r) and starts at zero, so that training begins at the
pretrained network. In a ViT, the layers that project to queries, keys and values are adapted. In a CNN, the
convolutions of the stages are adapted. `merge` restores plain layers.
"""

from typing import Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
ALLOW_UNKNOWN_FAMILIES = True
VOLUMES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Rank, scale and dropout of the update."""

    method: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


inject, merge = library.method(
    "LoraConfig", lambda params: {"r": params.rank, "lora_alpha": params.alpha, "lora_dropout": params.dropout}
)
