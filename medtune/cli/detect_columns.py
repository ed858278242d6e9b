"""Columns of a table under names that are not known: the one of the image files, and those that may name patients."""

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
    """The only column whose every cell names an image file, as it is or in one common form; else None.

    Args:
        table: the table.
        root: the data root.
        used: positions that have another meaning.
    """
    files = ImageFiles(root, scan_root(root))
    found = []
    for position, name in enumerate(table.columns):
        cells = [row[position].strip() for _, row in table.rows]
        if position in used or not all(cells):
            continue
        if all((root / cell).is_file() for cell in cells) or files.common_format(cells):
            found.append(name)
    return found[0] if len(found) == 1 else None


def patient_columns(table: Table, used: Collection[int]) -> tuple[list[str], list[str]]:
    """Columns whose name speaks of patients, and all others of unknown meaning that could name them.

    Args:
        table: the table.
        used: positions that have another meaning.
    """
    unused = [
        name
        for position, name in enumerate(table.columns)
        if position not in used and len({row[position] for _, row in table.rows if not is_missing(row[position])}) > 2
    ]
    named = [name for name in unused if PATIENT_WORDS.search(re.sub(r"[_\W]+", " ", name))]
    return named, [name for name in unused if name not in named]
