"""Results of `medtune predict` under a data root, which are not training data.

The results are one label map (predicted mask) per volume, and a table in the same folder.
"""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

# Suffix of the table, beginnings of the columns with sizes of labels, and last columns.
_SUFFIX, _SIZES, _LAST = ".csv", ("ml_", "pixels_"), ("flags", "seconds")


def is_results_table(columns: Sequence[str]) -> bool:
    """Return True for the table of label maps, which has columns such as `path,ml_liver,flags,seconds`.

    Args:
        columns: column names of a table.

    Returns:
        True for the table of label maps, False for any other table.
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
    """Leave out label maps: the files in the folder of a table of label maps.

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
        One pair of a title and a sentence; an empty list if there is no table.
    """
    return [("results", f"{table} was written by `medtune predict` and is not used") for table in tables[:1]]


def _header(file: Path) -> list[str]:
    """Return the fields of the first line of a file; empty if the file cannot be read as a table."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            return next(csv.reader(stream), [])
    except (OSError, csv.Error):  # other tables may have any content
        return []
