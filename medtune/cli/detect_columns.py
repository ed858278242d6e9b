"""Detection of the columns of image paths and of patients in a table whose columns have unknown names."""

import re
from collections.abc import Collection
from pathlib import Path

from medtune.data.identifiers import is_missing
from medtune.data.listing import scan_root
from medtune.data.table import Table
from medtune.data.table_paths import ImageFiles

PATIENT_WORDS = re.compile(
    r"(?i)(?<![a-z])"
    r"(patients?|pat|subjects?|cases?|person|participants?|mrn|medical record|proband|fall|donor)(?![a-z])"
)


def path_column(table: Table, root: Path, used: Collection[int]) -> str | None:
    """Find the column of image paths.

    Args:
        table: table that describes the images.
        root: data root.
        used: positions of columns with another meaning.

    Returns:
        Name of the only column whose cells are paths of image files, or parts of paths in a common format
        (`data.path_format`). None if there is no such column, or more than one.
    """
    files = ImageFiles(root, scan_root(root))
    candidates = []
    for position, name in enumerate(table.columns):
        cells = [row[position].strip() for _, row in table.rows]
        if position in used or not all(cells):
            continue
        if all((root / cell).is_file() for cell in cells) or files.common_format(cells):
            candidates.append(name)
    return candidates[0] if len(candidates) == 1 else None


def patient_columns(table: Table, used: Collection[int]) -> tuple[list[str], list[str]]:
    """Find columns that may contain patient ids.

    Args:
        table: table that describes the images.
        used: positions of columns with another meaning.

    Returns:
        Two lists of names of unused columns with more than two different values: columns whose names refer to patients,
        and other columns.
    """
    unused = [
        name
        for position, name in enumerate(table.columns)
        if position not in used and len({row[position] for _, row in table.rows if not is_missing(row[position])}) > 2
    ]
    named = [name for name in unused if PATIENT_WORDS.search(re.sub(r"[_\W]+", " ", name))]
    return named, [name for name in unused if name not in named]
