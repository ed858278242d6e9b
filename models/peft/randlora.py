"""Method `randlora`: scaled sums of random low-rank matrices, of full rank.

Albert et al. 2025, arXiv 2502.00987; by the peft library.
W = W0 + sum_i diag(b_i) B_i diag(d_i) A_i, A_i and B_i random and frozen.
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

    method: Literal["randlora"] = "randlora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import RandLoraConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, RandLoraConfig(r=params.rank))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
