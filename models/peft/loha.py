"""Method `loha`: Hadamard products of two low-rank updates.

Hyeon-Woo et al. 2022, arXiv 2108.06098; by the peft library.
W = W0 + (alpha / r) (B1 A1) * (B2 A2).
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

    method: Literal["loha"] = "loha"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import LoHaConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, LoHaConfig(r=params.rank, alpha=params.alpha))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
