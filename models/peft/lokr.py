"""Method `lokr`: Kronecker products of low-rank factors.

Yeh et al. 2024, arXiv 2309.14859; by the peft library.
W = W0 + (alpha / r) C (x) (B A).
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

    method: Literal["lokr"] = "lokr"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import LoKrConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, LoKrConfig(r=params.rank, alpha=params.alpha))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
