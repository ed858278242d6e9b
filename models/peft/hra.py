"""Method `hra`: chains of Householder reflections of the weight.

Yuan et al. 2024, arXiv 2405.17484; by the peft library.
W = W0 H1 ... Hr, H_i = I - 2 u_i u_i^T with trained unit vectors u_i.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

FAMILIES = ("vit",)
LRS = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the change."""

    method: Literal["hra"] = "hra"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import HRAConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, HRAConfig(r=params.rank))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
