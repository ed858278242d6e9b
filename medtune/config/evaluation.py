"""Section evaluate of params.yaml."""

import itertools
import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from medtune.config.base import StrictParams, renamed
from medtune.config.validation_errors import param_error


class OperatingPoint(StrictParams):
    """Rate that the threshold must reach on validation. Set exactly one key."""

    specificity: Annotated[float, Field(gt=0, lt=1)] | None = Field(None, examples=[0.95])
    sensitivity: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_rate(self) -> "OperatingPoint":
        if (self.specificity is None) == (self.sensitivity is None):
            raise ValueError("give specificity or sensitivity, not both. Example: {specificity: 0.95}")
        return self


class EvaluateParams(StrictParams):
    """Confidence intervals, calibration, decision rule and subgroups."""

    REMOVED: ClassVar[dict[str, str]] = {
        "evaluate.bootstrap": "no longer supported, because intervals do not come from a bootstrap. Delete this key.",
        **renamed("evaluate", ece_bins="reliability_bins"),
    }

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    calibration: Literal["temperature", "none"] = "temperature"
    threshold: Literal["balanced_accuracy", "argmax"] | OperatingPoint = Field(
        "balanced_accuracy",
        description="decision threshold for two classes or per finding, chosen on the validation images of all folds. "
        "balanced_accuracy: 0.5, or a threshold that is significantly better. argmax: 0.5. {specificity: 0.95} or "
        "{sensitivity: 0.95}: the threshold that reaches this rate",
        examples=[{"specificity": 0.95}, {"sensitivity": 0.95}],
    )
    patient_score: Literal["mean", "max", "noisy_or"] = Field(
        "mean",
        description="aggregation of image probabilities per patient. max and noisy_or: two classes or findings only",
    )
    coverage: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.9, description="requested fraction of images whose prediction set contains the label"
    )
    reliability_bins: Annotated[int, Field(ge=2, le=100)] = 15
    batch_size: Annotated[int, Field(gt=0)] = 64
    by: list[str] = Field(
        [],
        description="columns of the table that define subgroups, for example [sex, site]. Metrics are computed per "
        "subgroup",
        examples=[["sex", "site"]],
    )
    bins: dict[str, list[float]] = Field(
        {},
        description="limits between the subgroups of a numeric column, for example {age: [40, 60]}. evaluate.by must "
        "name the column",
        examples=[{"age": [40, 60]}],
    )

    @field_validator("by")
    @classmethod
    def _names_differ(cls, names: list[str]) -> list[str]:
        if any(not name.strip() for name in names) or len(set(names)) < len(names):
            raise ValueError("a column name is empty or repeated. Name each column once")
        return names

    @field_validator("bins")
    @classmethod
    def _limits_ascend(cls, bins: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, limits in bins.items():
            ascending = all(low < high for low, high in itertools.pairwise(limits))
            if not limits or not ascending or not all(map(math.isfinite, limits)):
                raise ValueError(f"{name} needs at least one finite limit, in ascending order, for example [40, 60]")
        return bins

    @model_validator(mode="after")
    def _bins_belong_to_columns(self) -> "EvaluateParams":
        if unused := sorted(self.bins.keys() - set(self.by)):
            raise param_error(
                f"bins.{unused[0]}",
                self.bins[unused[0]],
                "evaluate.by does not name this column. Add it to evaluate.by",
            )
        return self

    @property
    def threshold_criterion(self) -> str | dict[str, float]:
        """`threshold` as a name, or as a mapping from the rate's name to its value."""
        if isinstance(self.threshold, str):
            return self.threshold
        return self.threshold.model_dump(exclude_none=True)
