"""Section data of params.yaml: keys shared by all data sources, split protocols and intensity scaling."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from medtune.config.base import StrictParams, renamed
from medtune.config.names import Name
from medtune.config.validation_errors import param_error

MIN_FOLDS, MAX_FOLDS = 3, 20
# Protocols in which every fold is the test fold once. The other protocols have one split.
ROTATING_PROTOCOLS = ("patient", "image", "site", "hcrf-1-1-2")

SiteName = Annotated[str, Field(description="the name of a site (protocol site)")]


class SplitParams(StrictParams):
    """Split into train, validation and test. See docs/protocols.md."""

    REMOVED: ClassVar[dict[str, str]] = {
        "data.split.absent_classes": "replaced. Use data.split.allow_missing_classes=true or false."
    }

    protocol: Literal["patient", "image", "official", "folders", "column", "site", "hcrf-1-1-2"] = "patient"
    folds: Annotated[int, Field(ge=2, le=100)] = Field(
        5, description="number of folds, 3 to 20. For protocol site: the number of sites"
    )
    test_fold: Annotated[int, Field(ge=0)] | Literal["all"] | SiteName = Field(
        1,
        description="fold that the test metrics are computed on, 0 to folds - 1. all: every fold, pooled. For protocol "
        "site also the name of a site. Protocols patient, image, site and hcrf-1-1-2 always train a network for every "
        "fold",
    )
    val_fold: Annotated[int, Field(ge=0)] | None = Field(
        None, description="validation fold. null: the fold before the test fold"
    )
    allow_missing_classes: bool = Field(
        False,
        description="class without images in train, val or test of a fold. false: refuse. true: list it in "
        "dataset.json",
    )

    @field_validator("folds")
    @classmethod
    def _check_range(cls, folds: int, info: ValidationInfo) -> int:
        if info.data.get("protocol") != "site" and not MIN_FOLDS <= folds <= MAX_FOLDS:
            raise ValueError(f"expected an integer from {MIN_FOLDS} to {MAX_FOLDS}")
        return folds

    @model_validator(mode="after")
    def _check_folds(self) -> "SplitParams":
        if self.protocol == "hcrf-1-1-2" and self.folds != 4:
            raise param_error("folds", self.folds, "protocol hcrf-1-1-2 has 4 folds. Use folds=4")
        if self.protocol != "site" and isinstance(self.test_fold, str) and self.test_fold != "all":
            raise param_error(
                "test_fold", self.test_fold, 'expected a number or "all". Only protocol site accepts names'
            )
        if self.protocol == "site" and self.val_fold is not None:
            raise param_error(
                "val_fold",
                self.val_fold,
                "protocol site validates on training sites. Use val_fold=null",
            )
        for name, fold in (("test_fold", self.test_fold), ("val_fold", self.val_fold)):
            if isinstance(fold, int) and fold >= self.folds:
                hint = f'. If a site has this name, put it in quotes: "{fold}"' if self.protocol == "site" else ""
                raise param_error(name, fold, f"folds are numbered 0 to {self.folds - 1}{hint}")
        if self.val_fold is not None and self.test_fold == "all":
            raise param_error(
                "val_fold",
                self.val_fold,
                "with test_fold=all, the validation fold is the fold before each test fold. Use val_fold=null",
            )
        if self.val_fold is not None and self.val_fold == self.test_fold:
            raise param_error("val_fold", self.val_fold, "it is also the test fold. Use another fold")
        return self

    @property
    def test_folds(self) -> list[int]:
        """Test folds that the test metrics are computed on."""
        if self.test_fold == "all":
            return [0] if self.protocol in ("folders", "column") else list(range(self.folds))
        return [self.test_fold] if isinstance(self.test_fold, int) else [0]  # protocol site makes the named site fold 0

    @property
    def trained_folds(self) -> list[int]:
        """Test folds that get a network: all folds, or one fold for protocols with a fixed split."""
        return list(range(self.folds)) if self.protocol in ROTATING_PROTOCOLS else self.test_folds

    def val_fold_for(self, test_fold: int) -> int:
        """Return the validation fold that belongs to a test fold."""
        return (test_fold - 1) % self.folds if self.val_fold is None else self.val_fold


class IntensityParams(StrictParams):
    """Range of pixel values that is scaled to 0 to 255 in images of more than 8 bits. Set at most one key."""

    bits: Annotated[int, Field(ge=2, le=16)] | None = Field(
        None,
        description="range 0 to 2^bits - 1. null: bit depth of the files, or the smallest common depth that fits all",
    )
    window: tuple[float, float] | None = Field(
        None,
        description="[low, high], clipped. Hounsfield units for CT. Overrides the window of DICOM files",
        examples=[[-160, 240]],
    )
    percentiles: tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]] | None = Field(
        None,
        description="[low, high] percentiles of all pixels of all images, clipped. Example: [0.5, 99.5]",
        examples=[[0.5, 99.5]],
    )

    @model_validator(mode="after")
    def _check_range(self) -> "IntensityParams":
        given = [name for name in ("bits", "window", "percentiles") if getattr(self, name) is not None]
        if len(given) > 1:
            raise param_error(given[1], getattr(self, given[1]), f"{given[0]} is set too. Remove one of the two")
        for name in ("window", "percentiles"):
            value = getattr(self, name)
            if value is not None and value[0] >= value[1]:
                raise param_error(name, list(value), "the first number must be below the second")
        return self


class DataParams(StrictParams):
    """Keys that all data sources share. The `Params` of a source adds more keys."""

    REMOVED: ClassVar[dict[str, str]] = renamed("data", task="labels", group_pattern="patient_pattern")
    UNUSED_KEYS: ClassVar[frozenset[str]] = frozenset()
    """Shared keys that the source does not use. Only their default is accepted."""

    source: str = Field(examples=["folder"])
    root: str | None = Field(
        None, description="local folder or archive. null: the default folder of the source", examples=["/data/images"]
    )
    image_size: Annotated[int, Field(ge=8, le=2048)] = 224
    resize: Literal["squash", "pad", "crop"] = "squash"
    on_bad_image: Literal["error", "reject"] = "error"
    intensity: IntensityParams = IntensityParams()
    frames: Literal["error", "expand"] = Field(
        "error", description="DICOM files with several frames. error: refuse. expand: one image per frame"
    )
    similar_patients: Literal["error", "equal", "different"] = Field(
        "error",
        description="patients whose names differ only in case, blanks, Unicode form, leading zeros or a trailing .0. "
        "error: refuse. equal: one patient. different: different patients",
    )
    allow_values: list[Name] = Field(
        [],
        description="names of patients or classes that look like missing values but are not: [unknown, none]",
        examples=[["unknown", "none"]],
    )
    positive: Name | None = Field(
        None,
        description="positive one of two classes (malignant), for sensitivity, specificity, AUROC and the decision "
        "threshold. null: the class that the source declares. More than two classes have no positive class",
        examples=["malignant"],
    )
    split: SplitParams = SplitParams()

    @property
    def multi_label(self) -> str | None:
        """Setting that allows several labels per image, as `key=value`. None if an image has one label."""
        return None

    @property
    def has_volumes(self) -> bool:
        """True if the samples are volumes with masks, False if they are images."""
        return False

    @field_validator("allow_values", mode="before")
    @classmethod
    def _null_is_a_name(cls, values: Any) -> Any:
        # YAML reads an unquoted null as a missing value.
        return ["null" if value is None else value for value in values] if isinstance(values, list) else values
