"""Method `vera`: scalings of shared random low-rank matrices.

Kopiczko et al. 2024, arXiv 2310.11454; by the peft library.
W = W0 + diag(b) B diag(d) A, A and B random, frozen and shared; only b (out,) and d (r,) are trained.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

FAMILIES = ("vit",)
LRS = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """Size of the change."""

    method: Literal["vera"] = "vera"
    rank: Annotated[int, Field(ge=1)] = Field(64, description="r")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import VeraConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, VeraConfig(r=params.rank))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
