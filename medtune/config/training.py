"""What both training stages may say in params.yaml."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from medtune.config.base import StrictParams, renamed
from medtune.config.learning_rate import LearningRate, check_names
from medtune.config.names import Name

Schedule = Literal["frozen", "full", "staged"]
# The training stages of each schedule, in the order they run.
STAGES: dict[Schedule, tuple[Literal["frozen", "finetune"], ...]] = {
    "frozen": ("frozen",),
    "full": ("finetune",),
    "staged": ("frozen", "finetune"),
}
Fraction = Annotated[float, Field(ge=0, le=1)]
# Of 10,000 images 0.7 % came out all white or all black where each of these was drawn from 0 to 1; none up to 0.5.
Strength = Annotated[float, Field(ge=0, le=0.5)]
Border = Literal["reflect", "black"]
# A quarter of the image remains visible at both limits.
MOST_WITH_BLACK_BORDER = {"shift": 0.25, "scale": 0.5}


class AugmentParams(StrictParams):
    """Random changes to a training image, drawn separately for each image. 0 or false turns one off."""

    dihedral: bool = Field(True, description="one of the eight flips and quarter turns")
    flip: Fraction = Field(
        0.0, description="probability of a horizontal flip and, independently, of a vertical one; with dihedral: false"
    )
    shift: Fraction = Field(0.05, description="largest shift, share of the side")
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="largest zoom, 0.1: 0.9 to 1.1")
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(0.0, description="largest free rotation, degrees")
    affine_probability: Fraction = Field(1.0, description="probability that shift, scale and rotate are applied")
    border: Border = Field("reflect", description="pixels that shift, scale and rotate take from outside the image")
    brightness: Strength = 0.1
    contrast: Strength = 0.1
    color_probability: Fraction = Field(
        1.0, description="probability that brightness is changed and, independently, that contrast is"
    )
    stain: Strength = Field(0.05, description="haematoxylin-eosin-DAB jitter; colour images only")

    @model_validator(mode="after")
    def _check_flip(self) -> "AugmentParams":
        if self.dihedral and self.flip:
            raise ValueError(f"flip is {self.flip:g}, but dihedral is true and flips already; set dihedral: false")
        return self

    @model_validator(mode="after")
    def _check_black_border(self) -> "AugmentParams":
        for name, most in MOST_WITH_BLACK_BORDER.items():
            if self.border == "black" and getattr(self, name) > most:
                raise ValueError(
                    f"{name} is {getattr(self, name):g}: at most {most:g} with border: black, "
                    "or images could become black; use border: reflect"
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
    """Shared by the two stages."""

    epochs: Annotated[int, Field(ge=1)] = 12
    repeats_per_epoch: Annotated[int, Field(ge=1)] = Field(
        1, description="times an epoch goes over the training images: more where they are few"
    )
    min_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="optimizer steps of a training at least: an epoch goes over few training images more often"
    )
    lr: LearningRate = Field(
        "auto",
        description="auto: the best on validation of the rates that suit the head or PEFT method; or a number, a list "
        "to choose from, or a mapping from head or PEFT method to either",
    )
    batch_size: Annotated[int, Field(ge=1)] = 16
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = Field(
        1, description="batches whose gradients are summed into a step"
    )
    optimizer: Literal["adamw", "adam"] = Field("adamw", description="adam: coupled weight decay, as in the paper")
    weight_decay: Annotated[float, Field(ge=0)] = 1.0e-3
    warmup_epochs: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="epochs in which the learning rate rises; auto: a fifth of all, at most 2"
    )
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    label_smoothing: Fraction = 0.0
    class_weights: Literal["none", "auto"] | dict[Name, Annotated[float, Field(gt=0)]] = Field(
        "auto", description="auto: inverse frequency; or a weight for each class"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto: bf16 on a GPU, fp32 on a CPU")
    monitor: str = Field(
        "auroc", description="metric that picks the best epoch on validation, or loss: the lowest loss"
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.98, description="decay of the averaged weights that are scored and kept; null: the last step's weights"
    )
    patience: Annotated[int, Field(ge=1)] | None = Field(
        None, description="epochs without a better score before stopping"
    )
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        30.0, description="save when the last save is at least this old: what a crash may cost"
    )
    augment: AugmentParams = AugmentParams()

    @property
    def warmup(self) -> float:
        """Epochs in which the learning rate rises, at most all."""
        if self.warmup_epochs == "auto":
            return min(2, self.epochs / 5)
        return min(self.warmup_epochs, self.epochs)

    def passes_over(self, images: int) -> int:
        """Times an epoch goes over `images` training images: `repeats_per_epoch`, or more to reach `min_steps`."""
        needed = self.min_steps * self.batch_size * self.gradient_accumulation_steps
        return max(self.repeats_per_epoch, -(-needed // (self.epochs * images)) if images else 1)


class FrozenParams(TrainingParams):
    """Stage 1: the backbone frozen and in eval mode, the head trained. `augment` is for `feature_views: online`."""

    REMOVED: ClassVar[dict[str, str]] = renamed("frozen", **RENAMED, views="feature_views", store_gb="feature_cache_gb")

    feature_views: Annotated[int, Field(ge=1, le=8)] | Literal["online"] = Field(
        8, description="dihedral views whose features are stored; online: run the backbone every epoch"
    )
    feature_cache_gb: Annotated[float, Field(ge=0)] = Field(
        20.0, description="disk that the stored features of one chain may take; above it: online"
    )

    @field_validator("lr")
    @classmethod
    def _lr_names_heads(cls, lr: LearningRate) -> LearningRate:
        check_names("frozen", lr)
        return lr

    @model_validator(mode="after")
    def _views_are_dihedral(self) -> "FrozenParams":
        if self.feature_views not in (1, "online") and not self.augment.dihedral:
            raise ValueError(
                f"feature_views is {self.feature_views}, but augment.dihedral is false: stored views are flips and "
                "quarter turns; set feature_views: 1, or feature_views: online for the other augmentations"
            )
        return self


class FinetuneParams(TrainingParams):
    """Stage 2: from stage 1's best, or from the pretrained weights."""

    REMOVED: ClassVar[dict[str, str]] = renamed("finetune", **RENAMED)

    epochs: Annotated[int, Field(ge=1)] = 10
    channels_last: bool | Literal["auto"] = Field(
        "auto", description="channels innermost in memory; auto: CNN families on a GPU"
    )
    compile: bool | Literal["auto"] = Field(
        "auto", description="training steps through torch.compile; auto: on a GPU, where a C compiler is there"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass instead of keeping them"
    )

    @field_validator("lr")
    @classmethod
    def _lr_names_methods(cls, lr: LearningRate) -> LearningRate:
        check_names("finetune", lr)
        return lr
