"""Sections of the two training stages in params.yaml."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from medtune.config.base import StrictParams, renamed
from medtune.config.learning_rate import LearningRate, check_names, lr_field
from medtune.config.names import Name
from medtune.config.validation_errors import param_error

Schedule = Literal["frozen", "full", "staged"]
# The training stages of each schedule, in the order they run.
STAGES: dict[Schedule, tuple[Literal["frozen", "finetune"], ...]] = {
    "frozen": ("frozen",),
    "full": ("finetune",),
    "staged": ("frozen", "finetune"),
}
Fraction = Annotated[float, Field(ge=0, le=1)]
# Strength of color changes. With an upper limit of 1, 0.7 % of 10,000 images became entirely white or entirely black.
# With 0.5, none did.
Strength = Annotated[float, Field(ge=0, le=0.5)]
Border = Literal["reflect", "black"]
# A quarter of the image remains visible at both limits.
MAX_WITH_BLACK_BORDER = {"shift": 0.25, "scale": 0.5}


class AugmentParams(StrictParams):
    """Random augmentation, drawn independently per training image. 0 or false disables a transform."""

    dihedral: bool = Field(True, description="one of the eight flips and quarter turns")
    flip: Fraction = Field(
        0.0, description="probability of a horizontal and, independently, of a vertical flip. Needs dihedral: false"
    )
    shift: Fraction = Field(0.05, description="largest shift, fraction of the side")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="largest zoom. 0.1: 0.9 to 1.1")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(0.0, description="largest rotation, degrees")
    affine_probability: Fraction = Field(1.0, description="probability of applying shift, scale and rotate")
    border: Border = Field("reflect", description="pixels outside the image for shift, scale and rotate")
    brightness: Strength = 0.1
    contrast: Strength = 0.1
    color_probability: Fraction = Field(
        1.0, description="probability of a brightness change and, independently, of a contrast change"
    )
    stain: Strength = Field(0.05, description="hematoxylin-eosin-DAB jitter, color images only")

    @model_validator(mode="after")
    def _check_flip(self) -> "AugmentParams":
        if self.dihedral and self.flip:
            raise param_error("flip", self.flip, "dihedral=true includes flips. Use flip=0 or dihedral=false")
        return self

    @model_validator(mode="after")
    def _check_black_border(self) -> "AugmentParams":
        for name, limit in MAX_WITH_BLACK_BORDER.items():
            if self.border == "black" and getattr(self, name) > limit:
                raise param_error(
                    name,
                    getattr(self, name),
                    f"at most {limit:g} with border=black, because images could become black. Use border=reflect",
                )
        return self


# Earlier names of keys in both sections.
RENAMED = {
    "passes": "repeats_per_epoch",
    "accumulate": "gradient_accumulation_steps",
    "select_by": "monitor",
    "ema": "ema_decay",
}


class TrainingParams(StrictParams):
    """Keys that both training stages share."""

    epochs: Annotated[int, Field(ge=1)] = 12
    repeats_per_epoch: Annotated[int, Field(ge=1)] = Field(
        1, description="repetitions of the training images per epoch"
    )
    min_steps: Annotated[int, Field(ge=0)] = Field(
        0,
        description="minimum number of optimizer steps. If needed, epochs repeat the training images several times",
    )
    lr: LearningRate = lr_field("linear", 0.001)
    batch_size: Annotated[int, Field(ge=1)] = 16
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = Field(1, description="batches per optimizer step")
    optimizer: Literal["adamw", "adam"] = Field(
        "adamw", description="adam: L2 weight decay in the gradient, as in the CDTM paper"
    )
    weight_decay: Annotated[float, Field(ge=0)] = 1.0e-3
    warmup_epochs: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="epochs of learning rate warmup. auto: a fifth of all epochs, at most 2"
    )
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    label_smoothing: Fraction = 0.0
    class_weights: Literal["none", "auto"] | dict[Name, Annotated[float, Field(gt=0)]] = Field(
        "auto", description="auto: inverse frequency. Or a weight per class", examples=[{"tumor": 2, "normal": 1}]
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto: bf16 on a GPU, fp32 on a CPU")
    monitor: str = Field("auroc", description="metric that selects the best epoch on validation. loss: the lowest loss")
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.98, description="decay of the averaged weights, which are evaluated and saved. null: no averaging"
    )
    patience: Annotated[int, Field(ge=1)] | None = Field(
        None, description="epochs without improvement before early stopping"
    )
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        30.0, description="seconds between checkpoints. A crash loses at most this much training"
    )
    augment: AugmentParams = AugmentParams()

    @property
    def warmup(self) -> float:
        """Epochs of learning rate warmup, at most all epochs."""
        if self.warmup_epochs == "auto":
            return min(2, self.epochs / 5)
        return min(self.warmup_epochs, self.epochs)

    def repeats_for(self, images: int) -> int:
        """Return the repetitions of `images` training images per epoch that reach `min_steps`."""
        needed = self.min_steps * self.batch_size * self.gradient_accumulation_steps
        return max(self.repeats_per_epoch, -(-needed // (self.epochs * images)) if images else 1)


class FrozenParams(TrainingParams):
    """Stage 1: trains the head on a frozen backbone in eval mode. `augment` applies to `feature_views: online`."""

    REMOVED: ClassVar[dict[str, str]] = renamed("frozen", **RENAMED, views="feature_views", store_gb="feature_cache_gb")

    feature_views: Annotated[int, Field(ge=1, le=8)] | Literal["online"] = Field(
        8, description="number of dihedral views whose features are stored. online: run the backbone in every epoch"
    )
    feature_cache_gb: Annotated[float, Field(ge=0)] = Field(
        20.0,
        description="disk space in GB for the stored features of one fold. Features that need more are not stored, "
        "as with feature_views=online",
    )

    @field_validator("lr")
    @classmethod
    def _lr_names_heads(cls, lr: LearningRate) -> LearningRate:
        check_names("frozen", lr)
        return lr

    @model_validator(mode="after")
    def _views_are_dihedral(self) -> "FrozenParams":
        if self.feature_views not in (1, "online") and not self.augment.dihedral:
            raise param_error(
                "feature_views",
                self.feature_views,
                "all views but the first are flipped or rotated images, which frozen.augment.dihedral=false excludes. "
                "Set frozen.augment.dihedral=true, frozen.feature_views=1, or frozen.feature_views=online for other "
                "augmentations",
            )
        return self


class FinetuneParams(TrainingParams):
    """Stage 2: fine-tunes the best model of stage 1, or the pretrained weights."""

    REMOVED: ClassVar[dict[str, str]] = renamed("finetune", **RENAMED)

    epochs: Annotated[int, Field(ge=1)] = 10
    lr: LearningRate = lr_field("lora", 0.001)
    channels_last: bool | Literal["auto"] = Field(
        "auto", description="channels-last memory format. auto: CNN families on a GPU"
    )
    compile: bool | Literal["auto"] = Field(
        "auto", description="torch.compile for training steps. auto: on a GPU if a C compiler is installed"
    )
    gradient_checkpointing: bool = Field(False, description="recompute activations in the backward pass to save memory")

    @field_validator("lr")
    @classmethod
    def _lr_names_methods(cls, lr: LearningRate) -> LearningRate:
        check_names("finetune", lr)
        return lr
