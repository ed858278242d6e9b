"""Method `fourierft`: updates with a sparse Fourier spectrum.

Gao et al. 2024, arXiv 2405.03003. The peft library implements the method.
W = W0 + alpha F, where F is the inverse Fourier transform of a matrix with n trained coefficients at random positions.
The coefficients start at zero. In narrow networks, an update from the paper's random initialization is larger than the
pretrained weights (docs/log.md).
"""

from typing import Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

SUPPORTED_FAMILIES = ("vit",)
ALLOW_UNKNOWN_FAMILIES = True
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """Size of the update."""

    method: Literal["fourierft"] = "fourierft"
    frequencies: Annotated[int, Field(ge=1)] = Field(1000, description="n, number of trained coefficients per layer")
    scale: Annotated[float, Field(gt=0)] = Field(150.0, description="alpha, scale of the update")


inject, merge = library.method(
    "FourierFTConfig", lambda params: {"n_frequency": params.frequencies, "scaling": params.scale, "init_weights": True}
)
