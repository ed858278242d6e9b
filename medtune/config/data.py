"""Section data of params.yaml: what every data source shares, and how images are split and scaled."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from medtune.config.base import StrictParams, renamed
from medtune.config.names import Name

MIN_FOLDS, MAX_FOLDS = 3, 20
# Protocols in which every fold is the test fold once; the others have one split.
ROTATING_PROTOCOLS = ("patient", "image", "site", "hcrf-1-1-2")


class SplitParams(StrictParams):
    """How images become train, validation and test. See docs/protocols.md."""

    REMOVED: ClassVar[dict[str, str]] = {
        "data.split.absent_classes": "replaced. Use data.split.allow_missing_classes=true or false."
    }

    protocol: Literal["patient", "image", "official", "folders", "column", "site", "hcrf-1-1-2"] = "patient"
    folds: Annotated[int, Field(ge=2, le=100)] = Field(
        5, description="3 to 20; under protocol site the number of sites"
    )
    test_fold: Annotated[int, Field(ge=0)] | str = Field(
        1,
        description="fold whose images the test metrics are about, 0 to folds - 1; all: each in turn, pooled; under "
        "protocol site also the name of a site. A network is trained for every fold in any case",
    )
    val_fold: Annotated[int, Field(ge=0)] | None = Field(None, description="null: the fold before the test fold")
    allow_missing_classes: bool = Field(
        False,
        description="false: refuse a fold whose training, validation or test split lacks a class; true: note it in "
        "dataset.json",
    )

    @field_validator("folds")
    @classmethod
    def _check_range(cls, folds: int, info: ValidationInfo) -> int:
        if info.data.get("protocol") != "site" and not MIN_FOLDS <= folds <= MAX_FOLDS:
            raise ValueError(f"{MIN_FOLDS} to {MAX_FOLDS}")
        return folds

    @model_validator(mode="after")
    def _check_folds(self) -> "SplitParams":
        if self.protocol == "hcrf-1-1-2" and self.folds != 4:
            raise ValueError(f"folds is {self.folds}, but protocol hcrf-1-1-2 has 4")
        if self.protocol != "site" and isinstance(self.test_fold, str) and self.test_fold != "all":
            raise ValueError(f"test_fold is {self.test_fold!r}: a number or all; only protocol site takes a name")
        if self.protocol == "site" and self.val_fold is not None:
            raise ValueError("val_fold must be null: protocol site validates on patients of the training sites")
        for name, fold in (("test_fold", self.test_fold), ("val_fold", self.val_fold)):
            if isinstance(fold, int) and fold >= self.folds:
                hint = f'; if a site has this name, put it in quotes: "{fold}"' if self.protocol == "site" else ""
                raise ValueError(f"{name} is {fold}, but folds are numbered 0 to {self.folds - 1}{hint}")
        if self.val_fold is not None and self.test_fold == "all":
            raise ValueError("val_fold must be null when test_fold is all: it is the fold before each test fold")
        if self.val_fold is not None and self.val_fold == self.test_fold:
            raise ValueError(f"val_fold and test_fold are both {self.val_fold}: they must differ")
        return self

    @property
    def test_folds(self) -> list[int]:
        """Test folds whose images the test metrics are about."""
        if self.test_fold == "all":
            return [0] if self.protocol in ("folders", "column") else list(range(self.folds))
        return [self.test_fold] if isinstance(self.test_fold, int) else [0]  # the site that is named comes first

    @property
    def trained_folds(self) -> list[int]:
        """Test folds for which a network is trained: all, also where one is tested; one where the split is fixed."""
        return list(range(self.folds)) if self.protocol in ROTATING_PROTOCOLS else self.test_folds

    def val_fold_for(self, test_fold: int) -> int:
        """The validation fold of the chain whose test fold is `test_fold`."""
        return (test_fold - 1) % self.folds if self.val_fold is None else self.val_fold


class IntensityParams(StrictParams):
    """The range of values that becomes 0 to 255 in images of more than 8 bits; at most one of the three."""

    bits: Annotated[int, Field(ge=2, le=16)] | None = Field(
        None, description="values 0 to 2^bits - 1; null: from the files, or the smallest usual depth that fits them all"
    )
    window: tuple[float, float] | None = Field(
        None, description="[low, high], clipped; in Hounsfield units for CT; replaces the window of DICOM files"
    )
    percentiles: tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]] | None = Field(
        None, description="[low, high] of all pixels of all images, clipped: [0.5, 99.5], for example"
    )

    @model_validator(mode="after")
    def _check_range(self) -> "IntensityParams":
        given = [name for name in ("bits", "window", "percentiles") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both set: choose one")
        for name in ("window", "percentiles"):
            value = getattr(self, name)
            if value is not None and value[0] >= value[1]:
                raise ValueError(f"{name} is {list(value)}: the first number must be below the second")
        return self


class DataParams(StrictParams):
    """What every data source shares; a source's `Params` adds its own keys."""

    REMOVED: ClassVar[dict[str, str]] = renamed("data", task="labels", group_pattern="patient_pattern")

    source: str
    root: str | None = Field(None, description="local folder or archive; null: the source's own place")
    image_size: Annotated[int, Field(ge=8, le=2048)] = 224
    resize: Literal["squash", "pad", "crop"] = "squash"
    on_bad_image: Literal["error", "reject"] = "error"
    intensity: IntensityParams = IntensityParams()
    frames: Literal["error", "expand"] = Field(
        "error", description="DICOM files of several frames: refused, or each frame is an image of its patient"
    )
    similar_patients: Literal["error", "equal", "different"] = Field(
        "error",
        description="patients whose names differ only in case, blanks, Unicode form, leading zeros or a trailing .0: "
        "refused, one patient, or different patients",
    )
    allow_values: list[Name] = Field(
        [],
        description="names of patients or classes that would be taken for a missing value otherwise: [unknown, none]",
    )
    positive: Name | None = Field(
        None,
        description="of two classes the one that sensitivity, specificity, the decision threshold and AUROC are about "
        "(malignant); null: what the source declares, else refused. More classes have none",
    )
    split: SplitParams = SplitParams()

    @property
    def multi_label(self) -> str | None:
        """The setting by which an image may have several labels, as `key=value`; None where it has one."""
        return None

    @field_validator("allow_values", mode="before")
    @classmethod
    def _null_is_a_name(cls, values: Any) -> Any:
        # YAML reads an unquoted null as no value.
        return ["null" if value is None else value for value in values] if isinstance(values, list) else values
