"""Params of the task `segmentation`, which labels voxels of volumes. This module does not import torch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from medtune.config.base import StrictParams
from medtune.config.names import Name
from medtune.config.schema import TaskParams
from medtune.config.validation_errors import param_error

Axis = Literal["x", "y", "z"]
Probability = Annotated[float, Field(ge=0, le=1)]


class VolumeAugmentParams(StrictParams):
    """Random augmentation of training patches. 0 or an empty list disables a transform."""

    mirror: list[Axis] = Field(
        [],
        description="axes that are mirrored in half of the patches. Never x (left-right) if labels have a side",
        examples=[["y", "z"]],
    )
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(15.0, description="largest rotation about each axis, degrees")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="largest zoom. 0.2: 0.8 to 1.2")
    affine_probability: Probability = Field(0.3, description="probability of applying rotate and scale")
    gamma: Annotated[float, Field(ge=0, lt=1)] = Field(0.3, description="largest change of the exponent of gamma")
    brightness: Annotated[float, Field(ge=0, le=1)] = Field(0.2, description="largest shift, in standard deviations")
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="largest relative change")
    noise: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="largest standard deviation of added noise")
    blur: Annotated[float, Field(ge=0, le=5)] = Field(1.0, description="largest sigma of a Gaussian blur, voxels")
    low_resolution: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.5, description="largest loss of resolution. 0.5: half of the voxels per axis"
    )
    intensity_probability: Probability = Field(
        0.15, description="probability of each of gamma, brightness, contrast, noise, blur and low_resolution"
    )


class Params(TaskParams):
    """Params of patches, sliding windows, augmentation and post-processing."""

    EVALUATE_ONLY: ClassVar[frozenset[str]] = frozenset(
        {"tolerance_mm", "largest_component", "min_volume_mm3", "mirror_views", "controls"}
    )
    """Keys that do not affect data and training."""

    kind: Literal["segmentation"] = "segmentation"
    overlap: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.5, description="overlap of neighboring windows in prediction, fraction of the patch"
    )
    mirror_views: list[Axis] = Field(
        [],
        description="axes along which windows are mirrored in prediction. The probabilities of all combinations are "
        "averaged, so each axis doubles the time. Only axes of augment.mirror",
        examples=[["y", "z"]],
    )
    foreground_share: Probability = Field(
        0.33, description="fraction of training patches that are centered on a labeled voxel, labels in turn"
    )
    augment: VolumeAugmentParams = VolumeAugmentParams()
    tolerance_mm: Annotated[float, Field(ge=0)] | dict[Name, Annotated[float, Field(ge=0)]] = Field(
        1.0,
        description="tolerance of the normalized surface distance. A number, or a number per label",
        examples=[{"liver": 2.0, "tumor": 1.0}],
    )
    largest_component: Literal["auto", "all", "none"] = Field(
        "auto",
        description="keep only the largest component of a label. auto: of the labels whose Dice rises on validation",
    )
    min_volume_mm3: Annotated[float, Field(ge=0)] = Field(0.0, description="smallest component that is kept")
    controls: list[Literal["decoder_only", "scratch"]] = Field(
        ["decoder_only", "scratch"],
        description="trainings that every report compares with the model. decoder_only: without the backbone. "
        "scratch: the same network from random weights",
    )

    @field_validator("controls")
    @classmethod
    def _controls_differ(cls, controls: list[str]) -> list[str]:
        if len(set(controls)) < len(controls):
            raise ValueError("a control is repeated. Name each control once")
        return controls

    @field_validator("augment")
    @classmethod
    def _axes_differ(cls, augment: VolumeAugmentParams) -> VolumeAugmentParams:
        if len(set(augment.mirror)) < len(augment.mirror):
            raise ValueError("mirror: an axis is repeated. Name each axis once")
        return augment

    @model_validator(mode="after")
    def _views_are_trained(self) -> "Params":
        if len(set(self.mirror_views)) < len(self.mirror_views):
            raise param_error("mirror_views", self.mirror_views, "an axis is repeated. Name each axis once")
        if unknown := sorted(set(self.mirror_views) - set(self.augment.mirror)):
            raise param_error(
                "mirror_views",
                self.mirror_views,
                f"training does not mirror {', '.join(unknown)}. Add it to task.augment.mirror, or remove it here",
            )
        return self

    @property
    def views(self) -> tuple[int, ...]:
        """Numbers of the axes in `mirror_views`, ascending."""
        return tuple(sorted("xyz".index(axis) for axis in self.mirror_views))
