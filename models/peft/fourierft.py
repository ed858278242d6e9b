"""Method `fourierft`: sparse spectra of the update.

Gao et al. 2024, arXiv 2405.03003; by the peft library.
W = W0 + alpha * the inverse Fourier transform of a matrix with n trained coefficients at random places. They start at
zero, not drawn as in the paper: on narrow networks the drawn ones outweigh the pretrained weights (docs/log.md).
"""

from typing import Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

SUPPORTED_FAMILIES = ("vit",)
OTHER_FAMILIES = True
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """Size of the change."""

    method: Literal["fourierft"] = "fourierft"
    frequencies: Annotated[int, Field(ge=1)] = Field(1000, description="n, coefficients a layer")
    scale: Annotated[float, Field(gt=0)] = Field(150.0, description="alpha")


inject, merge = library.method(
    "FourierFTConfig", lambda params: {"n_frequency": params.frequencies, "scaling": params.scale, "init_weights": True}
)
