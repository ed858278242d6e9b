"""Search for the columns of a table, above all those of the image path, the label and the patient."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from medtune.config.errors import InputError, pluralize, set_option
from medtune.data.table import Table
from medtune.serving.decode import SUFFIXES as IMAGE_SUFFIXES

# Other common names of each column in lower case. If a table has several of them, the first one is proposed.
ALIASES = {
    "path": (
        "image_path", "img_path", "filepath", "file_path", "filename", "file_name", "file", "image", "img",
        "image_name", "image_file", "image_id", "image index",
    ),
    "label": ("diagnosis", "class", "class_name", "target", "label_name", "labels", "dx", "finding", "finding labels",
        "finding_labels", "findings", "category", "y",
    ),
    "patient": (
        "patient_id", "patientid", "patient id", "patientname", "subject", "subject_id", "subjectid",
        "participant_id", "case", "case_id", "caseid", "pid", "slide", "slide_id",
    ),
}  # fmt: skip
# Default names of columns in earlier versions. Tables with these names are still read.
EARLIER_NAMES = {"patient": "group"}
# Every default, other and earlier name.
KNOWN = frozenset(EARLIER_NAMES.values()) | frozenset(
    name for column, others in ALIASES.items() for name in (column, *others)
)


def known_names(chosen: Mapping[str, str | None]) -> frozenset[str]:
    """Return the column names by which the header of a table is recognized.

    Args:
        chosen: name that the user set for a column, by the default name of the column; None if the user set none.

    Returns:
        The names of the user and `KNOWN`, in lower case.
    """
    return KNOWN | {casefold_name(name) for name in chosen.values() if name}


def casefold_name(name: str) -> str:
    """Return a column name in lower case and normal Unicode form, without outer blanks."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def find_column(table: Table, name: str) -> int | None:
    """Find a column by its name, ignoring case.

    Args:
        table: the table.
        name: name of the column.

    Returns:
        Index of the column, or None if there is none.

    Raises:
        InputError: several columns have this name and differ only in case.
    """
    matches = [i for i, column in enumerate(table.columns) if casefold_name(column) == casefold_name(name)]
    if len(matches) > 1:
        columns = " and ".join(repr(table.columns[i]) for i in matches)
        raise InputError(f"{table.name}: columns {columns} differ only in case. Rename one of them")
    return matches[0] if matches else None


def require_column(table: Table, what: str, name: str | None, protocol: str) -> int:
    """Return the index of a column that a split protocol needs.

    Args:
        table: the table.
        what: default name of the column, which is also its key in `data.columns`.
        name: the name that the user set; None: the default name.
        protocol: `data.split.protocol`, for the message.

    Returns:
        Index into `table.columns`.

    Raises:
        InputError: there is no such column, or several columns differ only in case.
    """
    position = find_column(table, name or what)
    if position is None:
        raise InputError(
            f"data.split.protocol={protocol}: {table.name} has no column {name or what}; found "
            f"{', '.join(table.columns)}. Name it with {set_option(f'data.columns.{what}', 'NAME')}"
        )
    return position


def similar_column(table: Table, what: str) -> str | None:
    """Return the column that has another common name of `what` (path, label or patient), or None."""
    by_name = {casefold_name(column): column for column in table.columns}
    return next((by_name[alias] for alias in ALIASES[what] if alias in by_name), None)


def exact_names(table: Table, names: Sequence[str]) -> dict[str, str]:
    """Find columns by their names, ignoring case if there is no exact match.

    Args:
        table: the table.
        names: names of the columns.

    Returns:
        The spelling in the table, by the given name.

    Raises:
        InputError: a column is missing, or several columns differ only in case.
    """
    positions = {
        name: table.columns.index(name) if name in table.columns else find_column(table, name) for name in names
    }
    if missing := [name for name, position in positions.items() if position is None]:
        raise InputError(
            f"data.columns.labels: {table.name} has no column {', '.join(missing)}; found "
            f"{', '.join(table.columns)}. Correct the names"
        )
    return {name: table.columns[position] for name, position in positions.items() if position is not None}


def find_columns(table: Table, chosen: Mapping[str, str | None], labels: Sequence[str] = ()) -> dict[str, int]:
    """Find the columns path, label and patient. The column patient is optional, unless the user named it.

    Args:
        table: the table.
        chosen: name that the user set for a column, by the default name of the column; None: the default name.
        labels: names of the columns of findings, which replace the column label.

    Returns:
        Index of each column by its default name, without columns that are not in the table or not needed.

    Raises:
        InputError: a required column is missing or ambiguous, or one column is used for two purposes.
    """
    positions, missing = {}, []
    for what in ALIASES if not labels else [what for what in ALIASES if what != "label"]:
        name = chosen.get(what) or what
        position = table.columns.index(name) if chosen.get(what) in table.columns else find_column(table, name)
        if what in EARLIER_NAMES and not chosen.get(what):
            position = _earlier_column(table, what, position)
        if position is not None:
            positions[what] = position
        elif what != "patient" or chosen.get("patient"):
            missing.append((what, name))
    if missing:
        raise InputError(_describe_missing(table, missing))
    exact = exact_names(table, labels).values()
    if used_twice := [name for name in exact if table.columns.index(name) in positions.values()]:
        raise InputError(
            f"data.columns.labels: column {used_twice[0]} of {table.name} is the path or the patient. Remove it"
        )
    _check_renamed(table, [position for what, position in positions.items() if not chosen.get(what)])
    if len(set(positions.values())) < len(positions):
        raise InputError(
            f"data.columns: path, label and patient of {table.name} must be different columns. Correct the names"
        )
    return positions


def _earlier_column(table: Table, what: str, position: int | None) -> int | None:
    """Return the index of the column `what`: `position` or, if this is None, that of its earlier name, if any."""
    earlier = find_column(table, EARLIER_NAMES[what])
    if position is not None and earlier is not None:
        first, second = table.columns[position], table.columns[earlier]
        raise InputError(
            f"{table.name}: both columns {first} and {second} can be the {what}. Choose one of them with "
            f"{set_option(f'data.columns.{what}', first)}"
        )
    return earlier if position is None else position


def _check_renamed(table: Table, used: Iterable[int]) -> None:
    """Reject a used column `name` if there is a column `name.1` with other values."""
    # pandas and R write `name.1` for a second column `name`. It is then unclear which of the two the user means.
    by_name = {casefold_name(column): position for position, column in enumerate(table.columns)}
    for position in used:
        name = table.columns[position]
        other = by_name.get(casefold_name(f"{name}.1"))
        if other is None:
            continue
        different = [number for number, row in table.rows if row[position].strip() != row[other].strip()]
        if different:
            raise InputError(
                f"{table.name}: columns {name} and {table.columns[other]} originally had the same name, but differ in "
                f"{pluralize(len(different), 'row')} (first in {table.where(different[0])}). Remove or rename "
                "one of them"
            )


def _describe_missing(table: Table, missing: list[tuple[str, str]]) -> str:
    """Return the message about missing columns, which are pairs of a default name and the expected name."""
    names = " and ".join(repr(name) for _, name in missing)
    what = f"column {names} is missing" if len(missing) == 1 else f"columns {names} are missing"
    options = [
        set_option(f"data.columns.{key}", alias)
        for key, _ in missing
        if (alias := similar_column(table, key)) is not None
    ]
    if options:
        fix = f". Add {' '.join(options)}"
    elif len(table.columns) == 1 and re.search(r"[,;\t|^:]", table.columns[0]):
        fix = (
            ". The header is a single field. Separate columns by commas, semicolons, tabs or |, without quotes around "
            "lines"
        )
    elif any(column.lower().endswith(IMAGE_SUFFIXES) for column in table.columns):
        fix = ". Add a first line with the names of the columns"
    else:
        them = "it" if len(missing) == 1 else "them"
        fix = f". Name {them} with {' '.join(set_option(f'data.columns.{key}', 'NAME') for key, _ in missing)}"
    return f"{table.name}: {what} (columns: {', '.join(table.columns) or 'none'}){fix}"
