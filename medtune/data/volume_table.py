"""Table of volumes: one row per volume, with the columns path and mask, and optionally patient and spacing."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from medtune.config.errors import InputError, fill_in, set_option
from medtune.data import columns
from medtune.data.patient_pattern import check_pattern
from medtune.data.sample import Sample
from medtune.data.sites import add_sites
from medtune.data.split_column import find_split_column, read_splits
from medtune.data.table import Table
from medtune.data.table_paths import PATH
from medtune.data.table_rows import read_rows
from medtune.data.volume_cases import VolumeCase, strip_suffix

MASK, SPACING = "mask", "spacing"
# Other common names of the column mask in lower case.
MASK_ALIASES = (
    "mask_path", "mask_file", "label", "label_path", "labels", "seg", "segmentation", "segmentation_path", "annotation",
)  # fmt: skip
MAX_SPACING_MM = 100.0
_SHOWN = 3


def header_names(chosen: Mapping[str, str | None]) -> frozenset[str]:
    """Return the column names by which the header of a table is recognized.

    Args:
        chosen: name that the user set for a column, by the default name of the column; None if the user set none.

    Returns:
        Names in lower case.
    """
    return columns.known_names(chosen) | {MASK, SPACING, *MASK_ALIASES}


def find_columns(table: Table, chosen: Mapping[str, str | None]) -> dict[str, int]:
    """Find the columns path and mask, and the columns patient and spacing if they exist.

    Args:
        table: the table.
        chosen: name that the user set for a column, by the default name of the column; None: the default name.

    Returns:
        Index of each column that the table has, by default name.

    Raises:
        InputError: a required or named column is missing or ambiguous, or one column is used for two purposes.
    """
    mask = columns.find_column(table, chosen[MASK] or MASK)
    if mask is None:
        raise InputError(_describe_missing_mask(table, chosen[MASK] or MASK))
    others = {what: chosen[what] for what in ("path", "patient")}
    if mask in (columns.find_column(table, name or what) for what, name in others.items()):
        raise InputError(
            f"data.columns.mask={table.columns[mask]}: this column of {table.name} is also the path or the patient. "
            "Name another column"
        )
    # A table of volumes has no label. The mask takes its place, as a column of findings does in a table of images.
    positions = columns.find_columns(table, others, (table.columns[mask],))
    spacing = columns.find_column(table, chosen[SPACING] or SPACING)
    if spacing is None and chosen[SPACING]:
        raise InputError(
            f"data.columns.spacing={chosen[SPACING]}: {table.name} has no such column; found "
            f"{', '.join(table.columns)}. Correct the name"
        )
    return {**positions, MASK: mask, **({} if spacing is None else {SPACING: spacing})}


def _describe_missing_mask(table: Table, name: str) -> str:
    """Return the message about a missing column `name` of masks."""
    by_name = {columns.casefold_name(column): column for column in table.columns}
    alias = next((by_name[other] for other in MASK_ALIASES if other in by_name), "NAME")
    return (
        f"{table.name}: column {name!r} is missing (columns: {', '.join(table.columns) or 'none'}). Add "
        f"{set_option('data.columns.mask', alias)}"
    )


def read_cases(
    table: Table,
    positions: Mapping[str, int],
    root: Path,
    protocol: str,
    patient_pattern: str | None,
    is_planar: bool = False,
) -> list[VolumeCase]:
    """Convert each row to a case.

    Args:
        table: the table.
        positions: index of the columns path and mask and, if the table has them, patient and spacing.
        root: the data root.
        protocol: `data.split.protocol`. `site` needs the column site, and `column` needs the column split.
        patient_pattern: `data.patient_pattern`, or None.
        is_planar: True if the volumes are two-dimensional images, whose spacing is one number or two.

    Returns:
        One case per row, in the order of the table, with the cells of all other columns as metadata.

    Raises:
        InputError: a cell is empty or invalid, the protocol needs a column that is missing, or the table and the
            pattern both name the patients.
    """
    named = {what: index for what, index in positions.items() if what in ("path", "patient")}
    splits = None
    if protocol == "column":
        named["split"] = find_split_column(table, None)
        splits = read_splits(table, named["split"])
    rows = read_rows(table, named, root, PATH)
    if patient_pattern is not None:
        check_pattern(patient_pattern, table, named, rows)
    if protocol == "site":
        rows = add_sites(rows, table, None)
    if splits is not None:
        rows = [replace(row, published_splits=(split,)) for row, split in zip(rows, splits, strict=True)]
    mask = table.columns[positions[MASK]]
    spacing = table.columns[positions[SPACING]] if SPACING in positions else None
    _check_masks(rows, mask, "image" if is_planar else "volume")
    return [_case(row, mask, spacing, root, is_planar) for row in rows]


def _check_masks(rows: Sequence[Sample], column: str, item: str) -> None:
    """Reject rows with an empty cell in the column of masks. `item` is the word for a volume in the message."""
    if empty := [row.where for row in rows if not row.metadata[column].strip()]:
        more = f" and {len(empty) - _SHOWN:,} more" if len(empty) > _SHOWN else ""
        raise InputError(
            f"{', '.join(empty[:_SHOWN])}{more}: {column} is empty ({len(empty):,} of {len(rows):,} rows), but every "
            f"{item} needs a mask. {fill_in(len(empty))}"
        )


def _case(row: Sample, mask: str, spacing: str | None, root: Path, is_planar: bool) -> VolumeCase:
    """Convert a row to a case. `mask` and `spacing` are names of columns, whose cells are in the metadata of `row`."""
    cell = PurePosixPath(row.metadata[mask].strip().replace("\\", "/"))
    cell = cell.relative_to(root.as_posix()) if cell.is_relative_to(root.as_posix()) else cell
    return VolumeCase(
        strip_suffix(row.path) or row.path,
        (row.path,),
        cell.as_posix(),
        row.where,
        row.patient_id,
        None if spacing is None else parse_spacing(row.metadata[spacing], row.where, is_planar),
        {name: value for name, value in row.metadata.items() if name not in (mask, spacing)},
        row.site,
        row.published_splits,
    )


def parse_spacing(cell: str, where: str, is_planar: bool = False) -> tuple[float, float, float] | None:
    """Read the spacing of a volume.

    Args:
        cell: three numbers in mm, separated by blanks, commas, semicolons or x; empty if unknown.
        where: location of the cell, for the message.
        is_planar: True for a two-dimensional image. Its cell has one number, or one along x and one along y.

    Returns:
        Millimeters per voxel along the axes of the file, or None for an empty cell. An image is 1 mm thick.

    Raises:
        InputError: the cell has another count of numbers, or a number is not above 0 and at most 100.
    """
    if not cell.strip():
        return None
    parts = [part for part in re.split(r"[\s,;x×]+", cell.strip().strip("()[]").lower()) if part]
    if is_planar and len(parts) in (1, 2):
        parts = [parts[0], parts[-1], "1"]
    elif is_planar:
        parts = []
    try:
        x, y, z = (float(part) for part in parts)
    except ValueError:
        x = y = z = math.nan
    if not all(0 < value <= MAX_SPACING_MM for value in (x, y, z)):
        count, example = ("one or two", "0.8x0.8") if is_planar else ("three", "0.8x0.8x2.5")
        raise InputError(
            f"{where}: spacing is {cell!r}; expected {count} numbers of millimeters, above 0 and at most "
            f"{MAX_SPACING_MM:g}, such as {example}. Correct the cell"
        )
    return x, y, z
