"""Layouts of data sets of volumes: dataset.json of nnU-Net or of the Decathlon, a table, or two folders."""

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

# Names of columns and folders that contain masks.
MASK_WORDS = re.compile(r"(?i)(mask|label|seg|annotation|ground.?truth|(?<![a-z])(gt|roi|truth)(?![a-z]))")
NO_COLUMNS = dict.fromkeys(("path", "mask", "patient", "spacing"))


class Layout(NamedTuple):
    """Layout of a data set of volumes.

    Attributes:
        settings: section data by dotted key.
        title: the layout, for the user.
        others: columns of a table that may contain patient ids.
    """

    settings: dict[str, Any]
    title: str
    others: tuple[str, ...] = ()


def by_dataset_json(root: Path) -> Layout | None:
    """Return the layout that dataset.json states, or None if there is no such file or it has another content."""
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
        name: file name of the table in `root`. None searches for a table.
        suffixes: suffixes of the files. A table of images needs a column of masks, because others have classes.
        source: `data.source`.

    Returns:
        The layout, or None if no table names such files.

    Raises:
        InputError: the columns of the volume and the mask are ambiguous, or the table that `name` names is damaged or
            has the results of `medtune predict`.
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
    hidden = (".", "~$")
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file() and not path.name.startswith(hidden):
            yield path


def _names_files(table: Table, column: str, suffixes: tuple[str, ...]) -> bool:
    position = table.columns.index(column)
    cells = [cell for _, row in table.rows if (cell := row[position].strip())]
    return bool(cells) and all(strip_suffix(cell, suffixes) is not None for cell in cells)


def _table_layout(table: Table, files: Sequence[str], source: str) -> Layout:
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
    if len(found) == 1:
        return found[0]
    shown = f"columns {', '.join(found)} could all be" if found else "no column is"
    raise InputError(
        f"{table.name}: {shown} the {what} (columns: {', '.join(table.columns)}). Name the two columns of NIfTI files "
        "path and mask"
    )


def _patient_column(table: Table) -> str | None:
    """Return the column of the patients. A column of cases names patients only if a case occurs twice."""
    position = columns.find_column(table, "patient")
    if position is None:
        position = columns.find_column(table, columns.EARLIER_NAMES["patient"])
    similar = columns.similar_column(table, "patient")
    if position is not None or similar is None:
        return None if position is None else table.columns[position]
    cells = [row[table.columns.index(similar)] for _, row in table.rows]
    return None if "case" in similar.casefold() and len(set(cells)) == len(cells) else similar


def by_folders(root: Path, files: Sequence[str]) -> Layout | None:
    """Return the layout of two folders in which a mask has the name of its volume.

    Args:
        root: data root.
        files: NIfTI files, relative to `root`.

    Returns:
        The layout with the pair of folders that has the most names in common, or None if no names are equal.

    Raises:
        InputError: the files have the layout of nnU-Net, but dataset.json is missing.
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
    """Return the layout of DICOM series, of which each has a mask with the name of its folder.

    Args:
        root: data root.
        files: NIfTI files, relative to `root`.
        slices: DICOM files, relative to `root`.

    Returns:
        The layout, or None if no mask has the name of a folder of DICOM files.
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
    """Return True if only the second of two folders has the name of a folder of masks."""
    return bool(MASK_WORDS.search(masks)) and not MASK_WORDS.search(images)


def single_folder(files: Sequence[str]) -> str | None:
    """Return the top-level folder that contains all files, or None."""
    tops = {PurePosixPath(file).parts[0] for file in files}
    return tops.pop() if len(tops) == 1 and all("/" in file for file in files) else None
