"""Section evaluate of params.yaml."""

import itertools
import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from medtune.config.base import StrictParams


class EvaluateParams(StrictParams):
    """Metrics, their intervals, calibration, the decision rule and subgroups."""

    REMOVED: ClassVar[dict[str, str]] = {
        "evaluate.bootstrap": "removed, intervals need no resampling. Remove it.",
        "evaluate.ece_bins": "renamed. Use evaluate.reliability_bins.",
    }

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    calibration: Literal["temperature", "none"] = "temperature"
    threshold: Literal["balanced_accuracy", "argmax"] = Field(
        "balanced_accuracy", description="two classes, or each finding: chosen on validation; argmax: 0.5"
    )
    patient_score: Literal["mean", "max", "noisy_or"] = Field(
        "mean", description="a patient's probability from those of its images; max and noisy_or for two classes"
    )
    coverage: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.9, description="share of images whose prediction set contains the label"
    )
    reliability_bins: Annotated[int, Field(ge=2, le=100)] = 15
    batch_size: Annotated[int, Field(gt=0)] = 64
    by: list[str] = Field(
        [], description="columns of the table whose values form subgroups, each with its own metrics: [sex, site]"
    )
    bins: dict[str, list[float]] = Field(
        {}, description="limits between the subgroups of a column of numbers in evaluate.by: {age: [40, 60]}"
    )

    @field_validator("by")
    @classmethod
    def _names_differ(cls, names: list[str]) -> list[str]:
        if any(not name.strip() for name in names) or len(set(names)) < len(names):
            raise ValueError("name each column once")
        return names

    @field_validator("bins")
    @classmethod
    def _limits_ascend(cls, bins: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, limits in bins.items():
            ascending = all(low < high for low, high in itertools.pairwise(limits))
            if not limits or not ascending or not all(map(math.isfinite, limits)):
                raise ValueError(f"{name} is {limits}: give at least one limit, in ascending order")
        return bins

    @model_validator(mode="after")
    def _bins_belong_to_columns(self) -> "EvaluateParams":
        if unused := sorted(self.bins.keys() - set(self.by)):
            raise ValueError(f"bins.{unused[0]}: by does not name this column. Add it to evaluate.by")
        return self
