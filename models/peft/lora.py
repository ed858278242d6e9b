"""Method `lora`: low-rank updates, W + (alpha / r) B A (Hu et al. 2021, arXiv 2106.09685); by the peft library.

A is (r, in), B is (out, r) and starts at zero, so training begins at the pretrained network. On a ViT the fused
qkv projections are adapted, on a CNN the convolutions of the stages. `merge` leaves plain layers.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
LRS = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Rank, scale and dropout of the update."""

    method: Literal["lora"] = "lora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with low-rank updates trained, everything else frozen."""
    from peft import LoraConfig

    from medtune.models.blocks.tuners import wrap

    config = LoraConfig(r=params.rank, lora_alpha=params.alpha, lora_dropout=params.dropout)
    return wrap(backbone, config)


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the updates added to its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
