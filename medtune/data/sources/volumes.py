"""Source `volumes`: local volumes and masks, from a table with path, mask and patient or from two folders."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from medtune.config.base import StrictParams
from medtune.config.errors import InputError, set_option
from medtune.config.names import Name
from medtune.config.validation_errors import param_error
from medtune.data import columns, listing, volume_table
from medtune.data.label_names import MAX_LABELS, check_names
from medtune.data.sample import Sample
from medtune.data.table import check_file, read_table
from medtune.data.volume_cases import (
    MAX_CHANNELS,
    SUFFIXES,
    VolumeCase,
    require_folder,
    show_name,
    strip_suffix,
    to_samples,
)
from medtune.data.volume_params import VolumeFileParams
from medtune.runtime.console import info

NAME = "local volumes"
LICENSE = "defined by the owner of the volumes"
CITATION = "none given"
KNOWN_ISSUES: tuple[str, ...] = ()
_IMAGES, _MASKS = "images", "masks"


class VolumeColumns(StrictParams):
    """Names of the table's columns. null selects the default names path, mask, patient and spacing."""

    path: Name | None = Field(None, description="column with the path of the volume, relative to data.root")
    mask: Name | None = Field(None, description="column with the path of the mask, relative to data.root")
    patient: Name | None = Field(None, description="column of the patient")
    spacing: Name | None = Field(
        None, description="column with the millimeters per voxel of files that do not state them: 0.8x0.8x2.5"
    )


class Params(VolumeFileParams):
    """Parameters of the files, the labels and the patients."""

    source: Literal["volumes"] = "volumes"
    csv: str | None = Field(
        None, description="table in root with the columns path, mask and optionally patient and spacing: .csv, .tsv, "
        ".txt, .xlsx or .parquet. null: the folders images and masks"
    )  # fmt: skip
    sheet: str | None = Field(None, description="sheet of an .xlsx table. null: the only sheet with values")
    columns: VolumeColumns = VolumeColumns()
    images: str = Field(_IMAGES, description="folder of the volumes in root")
    masks: str = Field(_MASKS, description="folder of the masks in root. A mask has the name of its volume")
    class_names: Annotated[list[Name], Field(min_length=1)] | None = Field(
        None, description="names of the labels 1, 2, ... of the masks, in this order: [liver, tumor]"
    )
    channel_names: Annotated[list[Name], Field(min_length=1)] = Field(
        ["image"], description="names of the channels, which are in the fourth axis of a file: [T1, T2]"
    )

    @field_validator("class_names")
    @classmethod
    def _valid_names(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(names) > MAX_LABELS:
            raise ValueError(f"at most {MAX_LABELS} labels are supported. Merge some")
        if names is not None and (problem := check_names(names)):
            raise ValueError(problem)
        return names

    @field_validator("channel_names")
    @classmethod
    def _few_channels(cls, names: list[str]) -> list[str]:
        if len(names) > MAX_CHANNELS:
            raise ValueError(f"at most {MAX_CHANNELS} channels are supported. Remove some")
        if len(set(names)) < len(names):
            raise ValueError("a name is repeated. Name each channel once")
        return names

    @model_validator(mode="after")
    def _table_or_folders(self) -> "Params":
        for key, default in (("images", _IMAGES), ("masks", _MASKS)):
            if self.csv is not None and getattr(self, key) != default:
                raise param_error(key, getattr(self, key), "csv lists the files. Remove this key or csv")
        return self


def classes(params: Params) -> tuple[str, ...]:
    """Return the label names in index order, without the background; an empty tuple if the user named none."""
    return tuple(params.class_names or ())


def channels(params: Params) -> tuple[str, ...]:
    """Return the channel names in order."""
    return tuple(params.channel_names)


def metadata(params: Params) -> dict[str, object]:
    """Return the entries of dataset.json: the channels."""
    return {"channels": params.channel_names}


def inputs(root: Path | None, params: Params) -> list[Path]:
    """Return the table, if there is one."""
    return [listing.require_root(root) / params.csv] if params.csv else []


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the volumes.

    Args:
        root: the data root, see medtune.data.sample.
        params: section data.

    Returns:
        One sample per volume, sorted by path.

    Raises:
        InputError: the labels have no names, there are no volumes, the table cannot be used, an image or a mask is
            missing, or `patient_pattern` does not match.
    """
    root = require_folder(root, params.source)
    if params.class_names is None:
        raise InputError(
            "data.class_names=null: the labels of the masks have no names. List the names of the labels 1, 2, ... as "
            f"in {set_option('data.class_names', ['liver', 'tumor'])}"
        )
    cases = _by_table(root, params, params.csv) if params.csv else _by_folder(root, params)
    if not cases:
        raise InputError(
            f"data.root={root}: no volumes ({', '.join(SUFFIXES)}). Add volumes and masks, or set data.csv"
        )
    listed_in = params.csv or f"{params.images} and {params.masks}"
    return to_samples(root, cases, listed_in, params.patient_pattern)


def _by_table(root: Path, params: Params, csv: str) -> list[VolumeCase]:
    check_file(root / csv)
    chosen = params.columns.model_dump()
    table = read_table(root / csv, volume_table.header_names(chosen), params.sheet)
    for note in table.notes:
        info(note)
    if table.columns and not table.rows:
        raise InputError(f"data.csv={csv}: the table has no rows below its header. Add a row per volume")
    positions = volume_table.find_columns(table, chosen)
    if "patient" not in positions and params.patient_pattern is None:
        other = columns.similar_column(table, "patient")
        fix = f". If {other} is the patient, add {set_option('data.columns.patient', other)}" if other else ""
        info(f"{table.name}: no column patient, so no patients are known; found {', '.join(table.columns)}{fix}")
    return volume_table.read_cases(table, positions, root, params.split.protocol, params.patient_pattern)


def _by_folder(root: Path, params: Params) -> list[VolumeCase]:
    """Return a case for each name in the folder of volumes or of masks."""
    images, masks = (_by_name(root, key, getattr(params, key)) for key in ("images", "masks"))
    cases = []
    for name in sorted(images | masks):
        image, mask = (files.get(name) or f"{folder}/{name}{SUFFIXES[0]}"
                       for files, folder in ((images, params.images), (masks, params.masks)))  # fmt: skip
        cases.append(VolumeCase(name, (image,), mask))
    return cases


def _by_name(root: Path, key: str, folder: str) -> dict[str, str]:
    """Return the path of each file in a folder, by its name without suffix."""
    if not (root / folder).resolve().is_relative_to(root.resolve()) or not (root / folder).is_dir():
        found = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())[:6]) or "none"
        raise InputError(
            f"data.{key}={folder}: no such folder in {root} (folders: {found}). Name the folder, or set data.csv"
        )
    by_name: dict[str, str] = {}
    repeated: list[str] = []
    files = listing.scan_root(root / folder, SUFFIXES).images
    for path in files:
        name = strip_suffix(path) or path
        if name in by_name:
            repeated.append(name)
        by_name[name] = f"{folder}/{path}"
    if repeated:
        raise InputError(
            f"data.{key}={folder}: case {show_name(repeated[0])} has several files ({len(repeated):,} of "
            f"{len(files):,} files are duplicates). Remove one of them"
        )
    return by_name


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    from medtune.data.volume_example import write_case

    rows = ["path,mask,patient"]
    for number in range(12):
        name = f"{number}.nii.gz"
        write_case([root / _IMAGES / name], root / _MASKS / name, number)
        rows.append(f"{_IMAGES}/{name},{_MASKS}/{name},P{number // 2}")
    (root / "volumes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {"csv": "volumes.csv", "class_names": ["upper organ", "lower organ", "lesion"]}
