"""Listing of volumes from a table or from two folders, for the sources `volumes`, `dicom` and `masks`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from medtune.config.base import StrictParams
from medtune.config.errors import InputError, set_option
from medtune.config.names import Name
from medtune.config.validation_errors import param_error
from medtune.data import columns, listing, volume_table
from medtune.data.label_names import MAX_LABELS, check_names
from medtune.data.prediction_results import is_results_table
from medtune.data.table import check_file, check_rows, read_table
from medtune.data.volume_cases import SUFFIXES, VolumeCase, require_folder, show_name, strip_suffix
from medtune.data.volume_params import VolumeFileParams
from medtune.data.wording import wording_of_params
from medtune.runtime.console import info

_IMAGES, _MASKS = "images", "masks"


class VolumeColumns(StrictParams):
    """Names of the table's columns. null selects the default names path, mask, patient and spacing."""

    path: Name | None = Field(
        None, description="column with the path of the volume, relative to data.root", examples=["volume"]
    )
    mask: Name | None = Field(
        None, description="column with the path of the mask, relative to data.root", examples=["mask"]
    )
    patient: Name | None = Field(None, description="column of the patient", examples=["patient"])
    spacing: Name | None = Field(
        None,
        description="column with the millimeters per voxel of files that do not state them: 0.8x0.8x2.5",
        examples=["spacing"],
    )


class ListedVolumeParams(VolumeFileParams):
    """Parameters of the files, the labels and the patients."""

    csv: str | None = Field(
        None, description="table in root with the columns path, mask and optionally patient and spacing: .csv, .tsv, "
        ".txt, .xlsx or .parquet. null: the folders images and masks", examples=["volumes.csv"]
    )  # fmt: skip
    sheet: str | None = Field(
        None, description="sheet of an .xlsx table. null: the only sheet with values", examples=["Sheet1"]
    )
    columns: VolumeColumns = VolumeColumns()
    images: str = Field(_IMAGES, description="folder of the volumes in root")
    masks: str = Field(_MASKS, description="folder of the masks in root. A mask has the name of its volume")
    class_names: Annotated[list[Name], Field(min_length=1)] | None = Field(
        None,
        description="names of the labels 1, 2, ... of the masks, in this order: [liver, tumor]",
        examples=[["liver", "tumor"]],
    )

    @field_validator("class_names")
    @classmethod
    def _valid_names(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(names) > MAX_LABELS:
            raise ValueError(f"at most {MAX_LABELS} labels are supported. Merge some")
        if names is not None and (problem := check_names(names)):
            raise ValueError(problem)
        return names

    @model_validator(mode="after")
    def _table_or_folders(self) -> "ListedVolumeParams":
        for key, default in (("images", _IMAGES), ("masks", _MASKS)):
            if self.csv is not None and getattr(self, key) != default:
                raise param_error(key, getattr(self, key), "csv lists the files. Remove this key or csv")
        return self


def classes(params: ListedVolumeParams) -> tuple[str, ...]:
    """Return the label names in index order, without the background; an empty tuple if the user named none."""
    return tuple(params.class_names or ())


def inputs(root: Path | None, params: ListedVolumeParams) -> list[Path]:
    """Return the table if `params.csv` names one, otherwise an empty list."""
    return [listing.require_root(root) / params.csv] if params.csv else []


def list_cases(
    root: Path | None, params: ListedVolumeParams, by_folder: Callable[[Path, Any], list[VolumeCase]], absent: str
) -> tuple[Path, list[VolumeCase], str]:
    """List the cases of the table. If `params.csv` is null, list the cases of the two folders.

    Args:
        root: the data root, or None if `data.root` is null.
        params: section `data` of params.yaml.
        by_folder: function of the data root and `params` that lists the cases of the two folders.
        absent: for the message if there are no cases: what is absent, and the fix.

    Returns:
        The data root, the cases, and the names of the table or of the two folders for messages.

    Raises:
        InputError: there is no data root, the labels have no names, the table or a folder cannot be used, or there are
            no cases.
    """
    root = require_folder(root, params.source)
    if params.class_names is None:
        raise InputError(
            "data.class_names=null: the labels of the masks have no names. List the names of the labels 1, 2, ... as "
            f"in {set_option('data.class_names', ['liver', 'tumor'])}"
        )
    cases = _table_cases(root, params, params.csv) if params.csv else by_folder(root, params)
    if not cases:
        raise InputError(f"data.root={root}: no {absent}, or set data.csv")
    return root, cases, params.csv or f"{params.images} and {params.masks}"


def _table_cases(root: Path, params: ListedVolumeParams, csv: str) -> list[VolumeCase]:
    """Return one case per row of a table."""
    check_file(root / csv)
    chosen = params.columns.model_dump()
    table = read_table(root / csv, volume_table.header_names(chosen), params.sheet)
    for note in table.notes:
        info(note)
    check_rows(table, f"data.csv={csv}", "path,mask", wording_of_params(params).item)
    if is_results_table(table.columns):
        raise InputError(
            f"data.csv={csv}: results of `medtune predict`, without masks. Name the table with the columns path and "
            "mask"
        )
    positions = volume_table.find_columns(table, chosen)
    if "patient" not in positions and params.patient_pattern is None:
        other = columns.similar_column(table, "patient")
        fix = f". If {other} is the patient, add {set_option('data.columns.patient', other)}" if other else ""
        info(f"{table.name}: no column patient, so no patients are known; found {', '.join(table.columns)}{fix}")
    return volume_table.read_cases(
        table, positions, root, params.split.protocol, params.patient_pattern, params.is_planar
    )


def check_folder(root: Path, key: str, folder: str) -> None:
    """Check the folder of `data.images` or `data.masks`.

    Args:
        root: the data root.
        key: images or masks.
        folder: the folder, relative to `root`.

    Raises:
        InputError: the folder does not exist, or is not inside of the data root.
    """
    if not (root / folder).resolve().is_relative_to(root.resolve()) or not (root / folder).is_dir():
        found = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())[:6]) or "none"
        raise InputError(
            f"data.{key}={folder}: no such folder in {root} (folders: {found}). Name the folder, or set data.csv"
        )


def files_by_name(root: Path, key: str, folder: str, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, str]:
    """Find the files in a folder and its subfolders.

    Args:
        root: the data root.
        key: images or masks, the key of section `data` that names the folder.
        folder: the folder, relative to `root`.
        suffixes: suffixes of the files.

    Returns:
        Path of each file relative to `root`. The key is its path relative to the folder, without suffix.

    Raises:
        InputError: the folder does not exist, or two files have the same name.
    """
    check_folder(root, key, folder)
    by_name: dict[str, str] = {}
    repeated: list[str] = []
    files = listing.scan_root(root / folder, suffixes).images
    for path in files:
        name = strip_suffix(path, suffixes) or path
        if name in by_name:
            repeated.append(name)
        by_name[name] = f"{folder}/{path}"
    if repeated:
        raise InputError(
            f"data.{key}={folder}: case {show_name(repeated[0])} has several files ({len(repeated):,} of "
            f"{len(files):,} files are duplicates). Remove one of them"
        )
    return by_name
