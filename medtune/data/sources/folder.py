"""Source `folder`: local images. Class folders or a table with the columns path and label determine the labels."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from medtune.config.errors import InputError, set_option
from medtune.data import class_folders, columns, findings, label_table, listing
from medtune.data.example import write_image
from medtune.data.label_params import LabelParams
from medtune.data.patient_pattern import check_pattern, check_regex, with_patient
from medtune.data.sample import Sample
from medtune.data.sites import add_sites
from medtune.data.split_column import find_split_column, read_splits
from medtune.data.table import check_file, read_table
from medtune.data.table_paths import PATH, ImageFiles
from medtune.data.table_rows import check_table, read_rows
from medtune.runtime.console import info
from medtune.serving.decode import SUFFIXES
from medtune.serving.folder_scan import printable
from medtune.serving.masks import find_masks

NAME = "local images"
LICENSE = "defined by the owner of the images"
CITATION = "none given"
KNOWN_ISSUES: tuple[str, ...] = ()


class Params(LabelParams):
    """Parameters of labels, patients and masks."""

    source: Literal["folder"] = "folder"
    csv: str | None = Field(
        None, description="table in root with the columns path, label and optionally patient: .csv, .tsv, .txt, "
        ".xlsx or .parquet. null: class folders", examples=["labels.csv"]
    )  # fmt: skip
    sheet: str | None = Field(
        None, description="sheet of an .xlsx table. null: the only sheet with values", examples=["Sheet1"]
    )
    path_format: str = Field(
        PATH,
        description="path of an image, relative to data.root. The cell of the column path replaces {path}: "
        "'images/{path}.jpg'",
        examples=["images/{path}.jpg"],
    )
    patient_pattern: str | None = Field(
        None,
        description="regular expression for the path, whose first (...) is the patient: '/(P[0-9]+)_'. It must be null "
        "if the table has a column of patients",
        examples=["/(P[0-9]+)_"],
    )
    masks: Literal["error", "leave_out", "use"] = Field(
        "error",
        description="masks next to their images (x_mask.png). error: refuse. leave_out: ignore the masks. use: use the "
        "masks as images",
    )

    @field_validator("path_format")
    @classmethod
    def _one_path(cls, text: str) -> str:
        if text.count(PATH) != 1:
            raise ValueError(f"must contain {PATH} exactly once. Write it where the path of the row belongs")
        return text

    @field_validator("patient_pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        return check_regex(pattern)

    @field_validator("class_names")
    @classmethod
    def _different(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) < max(2, len(names)):
            raise ValueError("list at least two classes, each once")
        return names


def classes(params: Params) -> tuple[str, ...]:
    """Return the class names in the user's order; an empty tuple if the folders or the table determine them."""
    return params.named_classes()


def list_samples(root: Path | None, params: Params, suffixes: tuple[str, ...] = SUFFIXES) -> list[Sample]:
    """List the images.

    Args:
        root: the data root, see medtune.data.sample.
        params: section `data` of params.yaml.
        suffixes: lower-case file suffixes of images.

    Returns:
        One sample per image, sorted by path.

    Raises:
        InputError: there are no images; the table, the folders or the masks cannot be used; or `patient_pattern` does
            not match a path.
    """
    root = listing.require_root(root)
    if not root.is_dir():
        raise InputError(f"data.root={root}: not a folder. data.source={params.source} needs a folder of images")
    samples = list(_by_table(root, params, suffixes) if params.csv else _by_folder(root, params, suffixes))
    if not samples:
        raise InputError(f"data.root={root}: no images. Use a folder with one folder per class, or set data.csv")
    samples = _rename_labels(_without_masks(samples, params), params)
    if params.patient_pattern is not None:
        samples = [with_patient(sample, params.patient_pattern) for sample in samples]
    return sorted(samples, key=lambda sample: sample.path)


def inputs(root: Path | None, params: Params) -> list[Path]:
    """Return the table if `params.csv` names one, otherwise an empty list."""
    return [listing.require_root(root) / params.csv] if params.csv else []


def _by_folder(root: Path, params: Params, suffixes: tuple[str, ...]) -> Iterator[Sample]:
    """Yield the images in class folders, labeled by their folders."""
    if params.split.protocol == "folders":
        images = class_folders.by_split(root, suffixes)
    else:
        images = class_folders.by_class(root, params.class_names or (), suffixes)
    for image in images:
        yield Sample(image.path, image.label, published_splits=(image.split,) if image.split else None)


def _by_table(root: Path, params: Params, suffixes: tuple[str, ...]) -> Iterator[Sample]:
    """Yield one sample per row of the table, with the image file that the row names."""
    assert params.csv is not None
    if params.split.protocol == "folders":
        raise InputError(
            f"data.split.protocol=folders: data.csv={params.csv} lists the images. Set data.csv=null, or use "
            "another protocol"
        )
    file = root / params.csv
    check_file(file)
    chosen, finding_columns = params.columns.model_dump(exclude={"labels"}), params.columns.labels or ()
    table = read_table(
        file, columns.known_names(chosen) | {columns.casefold_name(name) for name in finding_columns}, params.sheet
    )
    for note in table.notes:
        info(note)
    check_table(table, params)
    by_column = params.split.protocol == "column"
    positions = columns.find_columns(table, chosen, finding_columns)
    if "patient" not in positions and params.patient_pattern is None:
        other = columns.similar_column(table, "patient")
        fix = f". If {other} is the patient, add {set_option('data.columns.patient', other)}" if other else ""
        info(f"{table.name}: no column patient, so no patients are known; found {', '.join(table.columns)}{fix}")
    splits = None
    if by_column:
        positions = {**positions, "split": find_split_column(table, params.columns.split)}
        splits = read_splits(table, positions["split"])
    elif (unused := columns.find_column(table, "split")) is not None and table.columns[unused] != "split":
        column = set_option("data.split.protocol", "column")
        info(f"{table.name}: the column {table.columns[unused]} is not used for the split; add {column} to use it")
    rows = read_rows(table, positions, root, params.path_format)
    if params.patient_pattern is not None:
        check_pattern(params.patient_pattern, table, positions, rows)
    if params.split.protocol == "site":
        rows = add_sites(rows, table, params.columns.site)
    if splits is not None:
        rows = [replace(row, published_splits=(split,)) for row, split in zip(rows, splits, strict=True)]
    if params.label_type == "multi":
        rows = (
            label_table.from_columns(rows, columns.exact_names(table, finding_columns))
            if finding_columns
            else label_table.from_cells(rows, params.label_separator, params.no_finding, params.class_names or ())
        )
    files = ImageFiles(root, listing.scan_root(root, suffixes))
    where_by_path: dict[str, str] = {}
    missing = []
    for sample in rows:
        actual = files.find(sample.path)
        if actual is None:
            missing.append((sample.where, sample.path))
        path = actual or sample.path
        if path in where_by_path:
            raise InputError(
                f"{path} is listed twice in {params.csv}: {where_by_path[path]} and {sample.where}. Remove one of them"
            )
        where_by_path[path] = sample.where
    if missing and params.on_bad_image == "error":
        raise InputError(files.describe(missing, len(rows)))
    for sample, path in zip(rows, where_by_path, strict=True):
        yield sample if path == sample.path else replace(sample, file=root / path)


def _without_masks(samples: list[Sample], params: Params) -> list[Sample]:
    """Find images whose names mark them as masks of other images, and treat them as `params.masks` states."""
    if params.masks == "use" or not (masks := set(find_masks([sample.path for sample in samples]))):
        return samples
    if params.masks == "error":
        first, use = printable(min(masks)), set_option("data.masks", "use")
        raise InputError(
            f"data.masks=error: {len(masks):,} of {len(samples):,} images look like masks of others, for example "
            f"{first}. Leave them out with {set_option('data.masks', 'leave_out')}, or use them as images with {use}"
        )
    return [sample for sample in samples if sample.path not in masks]


def _rename_labels(samples: list[Sample], params: Params) -> list[Sample]:
    """Rename labels as `params.label_map` states. Raise InputError if a label of the map does not occur."""
    if not params.label_map:
        return samples
    labels = {*findings.all_labels(samples), *(params.columns.labels or ())}
    if unused := sorted(params.label_map.keys() - labels):
        raise InputError(
            f"data.label_map: no image has label {unused[0]!r}; labels are {', '.join(sorted(labels))}. Correct or "
            "remove it"
        )
    return [findings.rename_labels(sample, params.label_map) for sample in samples]


def metadata(params: Params) -> dict[str, object]:
    """Return further entries of dataset.json: the label type unless it is nominal, and the label without findings."""
    if params.label_type == "nominal":
        return {}
    no_finding = {"no_finding": params.no_finding} if params.label_type == "multi" else {}
    return {"label_type": params.label_type, **no_finding}


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    for number in range(12):
        write_image(root / ("no", "yes")[number % 2] / f"P{number}_1.png", number)
    return {"patient_pattern": r"(P\d+)_"}
