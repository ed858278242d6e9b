"""Method `fourierft`: sparse spectra of the update.

Gao et al. 2024, arXiv 2405.03003; by the peft library.
W = W0 + alpha * the inverse Fourier transform of a matrix with n trained coefficients at random places. They start at
zero, not drawn as in the paper: on narrow networks the drawn ones outweigh the pretrained weights (docs/log.md).
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

    method: Literal["fourierft"] = "fourierft"
    frequencies: Annotated[int, Field(ge=1)] = Field(1000, description="n, coefficients a layer")
    scale: Annotated[float, Field(gt=0)] = Field(150.0, description="alpha")


def apply(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import FourierFTConfig

    from medtune.models.blocks.tuners import wrap

    config = FourierFTConfig(n_frequency=params.frequencies, scaling=params.scale, init_weights=True)
    return wrap(backbone, config)


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the change in its weights and no wrapper left."""
    from medtune.models.blocks.tuners import unwrap

    return unwrap(backbone)
