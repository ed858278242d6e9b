"""Method `delora`: normalised low-rank updates with a trained strength.

Bini et al. 2025, arXiv 2503.18225; by the peft library.
W = W0 + (lambda / r) B Xi A, each of the r components of unit norm.
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

    method: Literal["delora"] = "delora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import DeloraConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, DeloraConfig(r=params.rank))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
