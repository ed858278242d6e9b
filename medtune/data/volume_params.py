"""Parameters that the sources of volumes share."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from medtune.config.base import StrictParams
from medtune.config.data import DataParams
from medtune.config.validation_errors import param_error
from medtune.data.patient_pattern import check_regex

Millimeters = Annotated[float, Field(gt=0, le=100)]
Side = Annotated[int, Field(ge=1, le=1024)]


class VolumeIntensityParams(StrictParams):
    """Normalization of the values of a volume, the same rule for every channel."""

    rule: Literal["zscore", "minmax", "window", "foreground"] = Field(
        "zscore",
        description="zscore: mean and standard deviation of each volume (MR). minmax: percentiles 0.5 and 99.5 of each "
        "volume become 0 and 1. window: level and width (CT). foreground: numbers of the "
        "labeled voxels of the training volumes (CT)",
    )
    level: float | None = Field(None, description="center of the window, for rule window. Hounsfield units for CT")
    width: Annotated[float, Field(gt=0)] | None = Field(None, description="width of the window, for rule window")

    @model_validator(mode="after")
    def _window_has_numbers(self) -> "VolumeIntensityParams":
        for name in ("level", "width"):
            value = getattr(self, name)
            if self.rule == "window" and value is None:
                raise param_error(name, None, "rule window needs this number. Soft tissue of CT: level 40, width 400")
            if self.rule != "window" and value is not None:
                raise param_error(name, value, f"rule {self.rule} does not use this key. Remove it, or use rule=window")
        return self


class VolumeParams(DataParams):
    """Parameters of a source of volumes."""

    UNUSED_KEYS: ClassVar[frozenset[str]] = frozenset({"frames", "image_size", "positive", "resize"})

    spacing: tuple[Millimeters, Millimeters, Millimeters] | None = Field(
        None,
        description="[x, y, z] in mm, to which volumes are resampled. null: the median of the training volumes, "
        "with finer thick slices",
        examples=[[1, 1, 2.5]],
    )
    patch: tuple[Side, Side, Side] | None = Field(
        None,
        description="[x, y, z] voxels of a training patch. null: determined from spacing and size of the training "
        "volumes, at most 64 x 64 x 64 voxels",
        examples=[[64, 64, 32]],
    )
    intensity: VolumeIntensityParams = VolumeIntensityParams()  # type: ignore[assignment]

    @field_validator(*sorted(UNUSED_KEYS))
    @classmethod
    def _only_images_use_it(cls, value: Any, info: ValidationInfo) -> Any:
        if value != cls.model_fields[info.field_name or ""].default:
            raise ValueError("volumes do not use this key. Remove it")
        return value

    @property
    def has_volumes(self) -> bool:
        """True, because the samples are volumes with masks."""
        return True

    @property
    def is_planar(self) -> bool:
        """True if every volume is a two-dimensional image, which has one slice."""
        return False


class VolumeFileParams(VolumeParams):
    """Parameters of a source that reads volumes from files."""

    patient_pattern: str | None = Field(
        None,
        description="regular expression for the path of the first channel, whose first (...) is the patient: "
        "'(P[0-9]+)_'. null: the patients are unknown",
        examples=["(P[0-9]+)_"],
    )

    @field_validator("patient_pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        return check_regex(pattern)
