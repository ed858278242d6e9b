"""Which columns of a table hold the image, its label and its patient."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from medtune.config.errors import InputError, set_option
from medtune.data.table import Table
from medtune.serving.decode import SUFFIXES as IMAGE_SUFFIXES

# Other common names of each column, the most specific first, in lower case.
ALIASES = {
    "path": (
        "image_path", "img_path", "filepath", "file_path", "filename", "file_name", "file", "image", "img",
        "image_name", "image_file", "image_id", "image index",
    ),
    "label": ("diagnosis", "class", "class_name", "target", "label_name", "labels", "dx", "finding", "finding labels",
        "finding_labels", "findings", "category", "y",
    ),
    "group": (
        "patient", "patient_id", "patientid", "patient id", "patientname", "subject", "subject_id", "subjectid",
        "participant_id", "case", "case_id", "caseid", "pid", "slide", "slide_id",
    ),
}  # fmt: skip
KNOWN = frozenset(name for wanted, others in ALIASES.items() for name in (wanted, *others))


def known_names(chosen: Mapping[str, str | None]) -> frozenset[str]:
    """Names that a header is recognized by, in lower case.

    Args:
        chosen: the names that the user set, by path, label and group.
    """
    return KNOWN | {fold(name) for name in chosen.values() if name}


def fold(name: str) -> str:
    """A column name without its case, Unicode form and outer blanks."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def find_column(table: Table, name: str) -> int | None:
    """The position of a column, by its name in any case; None where there is none.

    Raises:
        InputError: several columns have that name in another case.
    """
    found = [i for i, column in enumerate(table.columns) if fold(column) == fold(name)]
    if len(found) > 1:
        columns = " and ".join(repr(table.columns[i]) for i in found)
        raise InputError(f"{table.name}: columns {columns} differ in case only. Rename one of them")
    return found[0] if found else None


def similar_column(table: Table, what: str) -> str | None:
    """The column that has another common name of path, label or group; None where there is none."""
    by_name = {fold(column): column for column in table.columns}
    return next((by_name[alias] for alias in ALIASES[what] if alias in by_name), None)


def exact_names(table: Table, names: Sequence[str]) -> dict[str, str]:
    """The columns of these names in any case, as the table spells them, by name.

    Raises:
        InputError: a column is missing; lists those that are there.
    """
    positions = {
        name: table.columns.index(name) if name in table.columns else find_column(table, name) for name in names
    }
    if missing := [name for name, position in positions.items() if position is None]:
        raise InputError(
            f"data.columns.labels: {table.name} has no column {', '.join(missing)}; found {', '.join(table.columns)}"
        )
    return {name: table.columns[position] for name, position in positions.items() if position is not None}


def find_columns(table: Table, chosen: Mapping[str, str | None], labels: Sequence[str] = ()) -> dict[str, int]:
    """Positions of the columns path, label and, where there is one, group.

    Args:
        table: the table.
        chosen: names that the user set, by path, label and group; the default name where it is None.
        labels: columns of findings, which replace the column label.

    Raises:
        InputError: path, label or a column that the user named is missing; names the option that chooses another.
    """
    found, missing = {}, []
    for what in ALIASES if not labels else [what for what in ALIASES if what != "label"]:
        name = chosen.get(what) or what
        exact = chosen.get(what) in table.columns
        position = table.columns.index(name) if exact else find_column(table, name)
        if position is not None:
            found[what] = position
        elif what != "group" or chosen.get("group"):
            missing.append((what, name))
    if missing:
        raise InputError(_describe_missing(table, missing))
    if taken := [name for name in exact_names(table, labels).values() if table.columns.index(name) in found.values()]:
        raise InputError(f"data.columns.labels: column {taken[0]} of {table.name} is the path or the patient")
    _check_renamed(table, [position for what, position in found.items() if not chosen.get(what)])
    if len(set(found.values())) < len(found):
        raise InputError(f"data.columns: path, label and group of {table.name} must be different columns")
    return found


def _check_renamed(table: Table, used: Iterable[int]) -> None:
    """Refuse a column that was there twice with other values: pandas and R rename the second one."""
    by_name = {fold(column): position for position, column in enumerate(table.columns)}
    for position in used:
        name = table.columns[position]
        other = by_name.get(fold(f"{name}.1"))
        if other is None:
            continue
        different = [number for number, row in table.rows if row[position].strip() != row[other].strip()]
        if different:
            raise InputError(
                f"{table.name}: columns {name} and {table.columns[other]} were one name twice, and differ in "
                f"{len(different):,} rows ({table.where(different[0])} first). Remove or rename one of them"
            )


def _describe_missing(table: Table, missing: list[tuple[str, str]]) -> str:
    what = "no column " + " and no ".join(name for _, name in missing)
    options = [
        set_option(f"data.columns.{key}", alias)
        for key, _ in missing
        if (alias := similar_column(table, key)) is not None
    ]
    if options:
        fix = f". Add {' '.join(options)}"
    elif len(table.columns) == 1 and re.search(r"[,;\t|^:]", table.columns[0]):
        fix = ", which is one field. Separate columns by commas, semicolons, tabs or |, and put no quotes around lines"
    elif any(column.lower().endswith(IMAGE_SUFFIXES) for column in table.columns):
        fix = ". The first line must name the columns"
    else:
        fix = f". Name it with {' '.join(set_option(f'data.columns.{key}', 'NAME') for key, _ in missing)}"
    return f"{table.name}: {what}; found {', '.join(table.columns) or 'no columns'}{fix}"
