"""Parameters of labels from a table or from class folders: columns, class names and label type."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from medtune.config.base import StrictParams, renamed
from medtune.config.data import DataParams
from medtune.config.names import Name
from medtune.config.validation_errors import param_error
from medtune.data.findings import NO_FINDING, SEPARATOR


class ColumnParams(StrictParams):
    """Names of the table's columns. null selects the default names path, label and, if the table has it, patient."""

    REMOVED: ClassVar[dict[str, str]] = renamed("data.columns", group="patient")

    path: Name | None = Field(
        None, description="column with the path of the image, relative to data.root", examples=["file"]
    )
    label: Name | None = Field(None, description="column of the class", examples=["diagnosis"])
    labels: Annotated[list[Name], Field(min_length=1)] | None = Field(
        None,
        description="for label_type: multi, one column of 0 and 1 per finding. null: the column label lists the "
        "findings",
        examples=[["edema", "effusion"]],
    )
    patient: Name | None = Field(None, description="column of the patient", examples=["patient"])
    site: Name | None = Field(
        None, description="column of the hospital or site, for protocol site. null: site", examples=["hospital"]
    )
    split: Name | None = Field(
        None,
        description="column with train, val, test or external, for protocol column. null: split",
        examples=["split"],
    )


class LabelParams(DataParams):
    """Parameters shared by sources whose labels can come from a user's table."""

    csv: str | None = Field(None, examples=["labels.csv"])
    columns: ColumnParams = ColumnParams()
    class_names: list[Name] | None = Field(
        None, description="order of the classes. null: sorted by name", examples=[["benign", "malignant"]]
    )
    label_map: dict[Name, Name] = Field(
        {}, description="labels to rename or merge: {Benign: benign}", examples=[{"0": "normal", "1": "tumor"}]
    )
    label_type: Literal["nominal", "ordinal", "multi"] = Field(
        "nominal",
        description="ordinal: the classes are grades in the order of class_names, and the metric quadratic weighted "
        "kappa is added. multi: an image can show several findings (task.kind: multilabel)",
    )
    label_separator: Annotated[str, Field(min_length=1)] = Field(
        SEPARATOR, description="separator between the findings of a label, for label_type: multi"
    )
    no_finding: Annotated[Name, Field(min_length=1)] = Field(
        NO_FINDING, description="label of an image without findings, for label_type: multi"
    )

    @property
    def multi_label(self) -> str | None:
        """The setting `data.label_type=multi` if images can show several findings, otherwise None."""
        return "data.label_type=multi" if self.label_type == "multi" else None

    @model_validator(mode="after")
    def _findings_have_columns(self) -> "LabelParams":
        if self.label_type == "multi" and self.csv is None:
            problem = "label_type=multi needs a table that lists the findings. Set csv to the table"
            raise param_error("csv", None, problem)
        if self.columns.labels is None:
            return self
        if self.label_type != "multi":
            problem = f"label_type={self.label_type} allows one label per image. Use label_type=multi"
            raise param_error("columns.labels", self.columns.labels, problem)
        if self.columns.label is not None:
            raise param_error("columns.labels", self.columns.labels, "columns.label is set too. Remove one of the two")
        if len(set(self.columns.labels)) < len(self.columns.labels):
            raise param_error("columns.labels", self.columns.labels, "a column is repeated. Name each column once")
        return self

    def named_classes(self) -> tuple[str, ...]:
        """Return the classes in the user's order; an empty tuple if the table or the folders determine them."""
        if self.class_names is None and self.columns.labels is not None:
            return tuple(dict.fromkeys(self.label_map.get(name, name) for name in self.columns.labels))
        return tuple(self.class_names or ())
