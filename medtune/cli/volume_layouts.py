"""Layouts of data sets of volumes: where a data set has its volumes and masks.

The layouts are dataset.json of nnU-Net or the Decathlon, a table, two folders, or folders of DICOM series.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from medtune.cli.detect_columns import patient_columns
from medtune.config.errors import InputError
from medtune.data import columns, volume_table
from medtune.data.dataset_json import FILE, find_source
from medtune.data.prediction_results import is_results_table
from medtune.data.sources.nnunet import IMAGES, MASKS
from medtune.data.table import SUFFIXES as TABLE_SUFFIXES
from medtune.data.table import Table, read_table
from medtune.data.volume_cases import SUFFIXES as VOLUME_SUFFIXES
from medtune.data.volume_cases import strip_suffix

# Words in the names of columns and folders of masks.
MASK_WORDS = re.compile(r"(?i)(mask|label|seg|annotation|ground.?truth|(?<![a-z])(gt|roi|truth)(?![a-z]))")
NO_COLUMNS = dict.fromkeys(("path", "mask", "patient", "spacing"))


class Layout(NamedTuple):
    """Layout of a data set of volumes.

    Attributes:
        settings: params of the section data, by dotted key.
        title: description of the layout for the user.
        others: names of columns of a table that may contain patient ids.
    """

    settings: dict[str, Any]
    title: str
    others: tuple[str, ...] = ()


def by_dataset_json(root: Path) -> Layout | None:
    """Return the layout that dataset.json describes. None if the file is missing or of another format."""
    source = find_source(root)
    if source is None:
        return None
    nnunet = f"nnU-Net: {FILE}, {IMAGES} and {MASKS}"
    title = nnunet if source == "nnunet" else f"Medical Segmentation Decathlon: {FILE}"
    return Layout({"data.source": source}, title)


def by_table(
    root: Path, name: str | None, suffixes: tuple[str, ...] = VOLUME_SUFFIXES, source: str = "volumes"
) -> Layout | None:
    """Return the layout of a table with one column of volumes and one of masks.

    Args:
        root: data root.
        name: file name of the table in `root`; None to search for a table.
        suffixes: suffixes of the files in the table.
        source: value of `data.source`. Unless it is `volumes`, a table without a column of masks is ignored.

    Returns:
        The layout, or None if there is no such table.

    Raises:
        InputError: it is unclear which columns contain volumes and masks, or the table `name` is damaged or contains
            results of `medtune predict`.
    """
    header = volume_table.header_names(NO_COLUMNS)
    for file in [root / name] if name else _tables(root):
        try:
            table = read_table(file, header)
        except InputError:
            if name:
                raise
            continue
        if is_results_table(table.columns):
            if name:
                raise InputError(f"{name}: results of `medtune predict`, without masks. Name the table of the masks")
            continue
        files = [column for column in table.columns if _names_files(table, column, suffixes)]
        if files and (source == "volumes" or any(map(MASK_WORDS.search, files))):
            return _table_layout(table, files, source)
    return None


def _tables(root: Path) -> Iterator[Path]:
    """Yield the tables in a folder, sorted by name, without hidden files and lock files of Excel."""
    hidden = (".", "~$")
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file() and not path.name.startswith(hidden):
            yield path


def _names_files(table: Table, column: str, suffixes: tuple[str, ...]) -> bool:
    """Return True if all cells of a column that are not empty end with one of the suffixes."""
    position = table.columns.index(column)
    cells = [cell for _, row in table.rows if (cell := row[position].strip())]
    return bool(cells) and all(strip_suffix(cell, suffixes) is not None for cell in cells)


def _table_layout(table: Table, files: Sequence[str], source: str) -> Layout:
    """Return the layout of a table, given its columns that contain file names."""
    masks = [column for column in files if MASK_WORDS.search(column)]
    mask = _only(table, "mask", [column for column in masks if column.casefold() == "mask"] or masks)
    rest = [column for column in files if column != mask]
    path = _only(table, "path", [column for column in rest if column.casefold() == "path"] or rest)
    settings: dict[str, Any] = {"data.source": source, "data.csv": table.name}
    named = {"path": path, "mask": mask}
    patient = _patient_column(table)
    if patient is not None:
        named["patient"] = patient
    settings |= {f"data.columns.{what}": column for what, column in named.items() if column.casefold() != what}
    used = [table.columns.index(column) for column in named.values()]
    others = [] if patient is not None else patient_columns(table, used)[0]
    title = f"table {table.name}: {len(table.rows):,} rows, columns {', '.join(table.columns)}"
    return Layout(settings, title, tuple(others))


def _only(table: Table, what: str, found: Sequence[str]) -> str:
    """Return the only column in `found`. Raise InputError if there is none or more than one."""
    if len(found) == 1:
        return found[0]
    shown = f"columns {', '.join(found)} could all be" if found else "no column is"
    raise InputError(
        f"{table.name}: {shown} the {what} (columns: {', '.join(table.columns)}). Name the two columns of NIfTI files "
        "path and mask"
    )


def _patient_column(table: Table) -> str | None:
    """Return the name of the column of patients, or None. A column of cases counts only if a case occurs twice."""
    position = columns.find_column(table, "patient")
    if position is None:
        position = columns.find_column(table, columns.EARLIER_NAMES["patient"])
    similar = columns.similar_column(table, "patient")
    if position is not None or similar is None:
        return None if position is None else table.columns[position]
    cells = [row[table.columns.index(similar)] for _, row in table.rows]
    return None if "case" in similar.casefold() and len(set(cells)) == len(cells) else similar


def by_folders(root: Path, files: Sequence[str]) -> Layout | None:
    """Return the layout of a folder of volumes and a folder of masks with equal file names.

    Args:
        root: data root.
        files: NIfTI files, relative to `root`.

    Returns:
        The layout with the two folders that have the most names in common. None if no names are equal.

    Raises:
        InputError: dataset.json of nnU-Net is missing, or it is unclear which folder contains the masks.
    """
    names: dict[str, set[str]] = {}
    for file in files:
        folder, _, rest = file.partition("/")
        if rest:
            names.setdefault(folder, set()).add(strip_suffix(rest) or rest)
    pairs = [(images, masks) for images, masks in permutations(sorted(names), 2) if names[images] & names[masks]]
    if not pairs:
        numbered = any(re.search(r"_\d{4}$", name) for name in names.get(IMAGES, ()))
        if numbered and MASKS in names:
            raise InputError(f"{root}: {IMAGES} and {MASKS}, but no {FILE}. Copy {FILE} of the nnU-Net data set")
        return None
    images, masks = max(pairs, key=lambda pair: (len(names[pair[0]] & names[pair[1]]), is_mask_pair(*pair)))
    if not is_mask_pair(images, masks):
        raise InputError(
            f"{root}: the folders {images} and {masks} have equal names, but it is unclear which has the masks. Rename "
            "the folder of masks to masks"
        )
    settings = {"data.source": "volumes", "data.images": images, "data.masks": masks}
    return Layout(settings, f"folders {images} and {masks}, with equal names")


def by_series(root: Path, files: Sequence[str], slices: Sequence[str]) -> Layout | None:
    """Return the layout of folders with one DICOM series each, and a folder of masks with the same names.

    Args:
        root: data root.
        files: NIfTI files, relative to `root`.
        slices: DICOM files, relative to `root`.

    Returns:
        The layout, or None if no mask has the name of a folder with DICOM files.
    """
    series = {PurePosixPath(path).parent.as_posix() for path in slices}
    masks = {strip_suffix(path) or path for path in files}
    pairs = [
        (image.partition("/")[0], mask.partition("/")[0])
        for image in sorted(series)
        for mask in sorted(masks)
        if "/" in image and "/" in mask and image.partition("/")[2] == mask.partition("/")[2]
    ]
    if not pairs:
        return None
    images, folder = max(sorted(set(pairs)), key=pairs.count)
    settings = {"data.source": "dicom", "data.images": images, "data.masks": folder}
    return Layout(settings, f"DICOM series in {images}, masks in {folder}, with equal names")


def is_mask_pair(images: str, masks: str) -> bool:
    """Return True if the name `masks` refers to masks, and the name `images` does not."""
    return bool(MASK_WORDS.search(masks)) and not MASK_WORDS.search(images)


def single_folder(files: Sequence[str]) -> str | None:
    """Return the top-level folder that contains all files, or None if there is no such folder."""
    tops = {PurePosixPath(file).parts[0] for file in files}
    return tops.pop() if len(tops) == 1 and all("/" in file for file in files) else None
