"""Normalization of images before the backbone."""

from typing import Annotated

from pydantic import Field, model_validator

from medtune.config.base import StrictParams
from medtune.config.validation_errors import param_error


class Normalization(StrictParams):
    """Channel means and standard deviations for images scaled to 0..1."""

    mean: tuple[float, float, float] = Field(examples=[[0.485, 0.456, 0.406]])
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        examples=[[0.229, 0.224, 0.225]]
    )

    @model_validator(mode="after")
    def _check_scale(self) -> "Normalization":
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not all(0 <= value <= 1 for value in values):
                raise param_error(name, list(values), "expected values from 0 to 1. Divide values for 0..255 by 255")
        return self
