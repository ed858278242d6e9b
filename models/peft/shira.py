"""Method `shira`: a sparse part of the weight itself.

Bhardwaj et al. 2024, arXiv 2406.13175; by the peft library.
W = W0 + S, S with as many trained entries as LoRA of rank r would have, at random places.
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

    method: Literal["shira"] = "shira"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import ShiraConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, ShiraConfig(r=params.rank))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
