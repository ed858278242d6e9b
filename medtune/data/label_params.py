"""Settings of the labels in a user's table: its columns, and whether an image has one label or several."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from medtune.config.base import StrictParams
from medtune.config.data import DataParams
from medtune.config.names import Name
from medtune.data.findings import NO_FINDING, SEPARATOR


class ColumnParams(StrictParams):
    """Names of the table's columns; null: path, label and, where there is one, group."""

    path: Name | None = Field(None, description="image file, relative to data.root")
    label: Name | None = Field(None, description="class")
    labels: Annotated[list[Name], Field(min_length=1)] | None = Field(
        None, description="findings, a column of 0 and 1 each, for label_type: multi; null: column label lists them"
    )
    group: Name | None = Field(None, description="patient")
    site: Name | None = Field(None, description="hospital or site, for protocol site; null: site")
    split: Name | None = Field(None, description="train, val, test or external, for protocol column; null: split")


class LabelParams(DataParams):
    """What a source whose labels come from a user's table shares."""

    csv: str | None = None
    columns: ColumnParams = ColumnParams()
    class_names: list[Name] | None = Field(None, description="order of the classes; null: sorted by name")
    label_map: dict[Name, Name] = Field({}, description="labels to rename or merge: {Benign: benign}")
    label_type: Literal["nominal", "ordinal", "multi"] = Field(
        "nominal",
        description="ordinal: classes are grades in the order of class_names; adds quadratic weighted kappa; "
        "multi: an image shows any number of findings (task.kind: multilabel)",
    )
    label_separator: Annotated[str, Field(min_length=1)] = Field(
        SEPARATOR, description="between the findings of a label, for label_type: multi"
    )
    no_finding: Annotated[Name, Field(min_length=1)] = Field(
        NO_FINDING, description="label of an image without findings, for label_type: multi"
    )

    @property
    def multi_label(self) -> str | None:
        """`data.label_type=multi`, where it is set."""
        return "data.label_type=multi" if self.label_type == "multi" else None

    @model_validator(mode="after")
    def _findings_have_columns(self) -> "LabelParams":
        if self.label_type == "multi" and self.csv is None:
            raise ValueError("label_type is multi, but csv is null: name the table that lists the findings")
        if self.columns.labels is None:
            return self
        if self.label_type != "multi":
            raise ValueError(f"columns.labels is set, but label_type is {self.label_type}: set label_type to multi")
        if self.columns.label is not None:
            raise ValueError("columns.label and columns.labels are both set: choose one")
        if len(set(self.columns.labels)) < len(self.columns.labels):
            raise ValueError(f"columns.labels is {self.columns.labels}: name each column once")
        return self

    def named_classes(self) -> tuple[str, ...]:
        """Classes in the order asked for; empty where the table decides."""
        if self.class_names is None and self.columns.labels is not None:
            return tuple(dict.fromkeys(self.label_map.get(name, name) for name in self.columns.labels))
        return tuple(self.class_names or ())
