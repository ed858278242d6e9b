"""Method `hira`: Hadamard products of a low-rank update with the weight itself.

Huang et al. 2025, ICLR; by the peft library.
W = W0 + W0 * (B A): an update of high rank at low cost.
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

    method: Literal["hira"] = "hira"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import HiraConfig

    from medtune.models.blocks.tuners import wrap

    return wrap(backbone, HiraConfig(r=params.rank))


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
