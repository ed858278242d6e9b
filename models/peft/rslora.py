"""Method `rslora`: low-rank updates scaled by alpha / sqrt(r).

Kalajdzievski 2023, arXiv 2312.03732; by the peft library.
W = W0 + (alpha / sqrt(r)) B A, A (r, in), B (out, r) zero at first.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
LRS = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the change."""

    method: Literal["rslora"] = "rslora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / sqrt(r)")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import LoraConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, LoraConfig(r=params.rank, lora_alpha=params.alpha, use_rslora=True))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
