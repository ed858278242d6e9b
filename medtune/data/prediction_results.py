"""Results of `medtune predict` in a data root: label maps and their table, which are not training data."""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

_SUFFIX, _SIZES, _LAST = ".csv", ("ml_", "pixels_"), ("flags", "seconds")


def is_results_table(columns: Sequence[str]) -> bool:
    """Return True for the columns of the table of label maps, such as `path,ml_liver,uncertainty_liver,flags,seconds`.

    Args:
        columns: column names of a table.

    Returns:
        False for a table of volumes and masks.
    """
    sizes = [column for column in columns if column.startswith(_SIZES)]
    return bool(sizes) and columns[0] == "path" and tuple(columns[-len(_LAST) :]) == _LAST


def find_results(root: Path, files: Sequence[str]) -> list[str]:
    """Find the tables of label maps.

    Args:
        root: data root.
        files: files relative to `root`.

    Returns:
        Paths of the tables, relative to `root`.
    """
    return [path for path in files if path.lower().endswith(_SUFFIX) and is_results_table(_header(root / path))]


def without_label_maps(files: Sequence[str], tables: Sequence[str]) -> list[str]:
    """Leave out the label maps, which are in the folder of their table.

    Args:
        files: NIfTI files, relative to the data root.
        tables: result of `find_results`.

    Returns:
        The other files. Files in the data root itself are never left out.
    """
    folders = {PurePosixPath(table).parent for table in tables} - {PurePosixPath()}
    return [path for path in files if PurePosixPath(path).parent not in folders]


def describe_results(tables: Sequence[str]) -> list[tuple[str, str]]:
    """Describe the first table of label maps, for the output of `medtune init`.

    Args:
        tables: result of `find_results`.

    Returns:
        One pair of a name and a sentence; an empty list if there is no table.
    """
    return [("results", f"{table} was written by `medtune predict` and is not used") for table in tables[:1]]


def _header(file: Path) -> list[str]:
    try:
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            return next(csv.reader(stream), [])
    except (OSError, csv.Error):  # other tables may have any content
        return []
