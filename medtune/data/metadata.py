"""Search for metadata columns such as sex, site and scanner, and conversion of their cells to values."""

from collections.abc import Collection, Iterable, Sequence

from medtune.config.errors import InputError, suggestion
from medtune.data.columns import casefold_name
from medtune.data.identifiers import is_missing, squeeze


def find_metadata_column(columns: Sequence[str], name: str, key: str) -> str:
    """Find a metadata column, ignoring case if there is no exact match.

    Args:
        columns: the metadata columns.
        name: name of the column as the user wrote it.
        key: the params key that contains the name, for the message.

    Returns:
        The name as in `columns`.

    Raises:
        InputError: no column has this name, or several columns differ only in case.
    """
    if name in columns:
        return name
    matches = [column for column in columns if casefold_name(column) == casefold_name(name)]
    if len(matches) > 1:
        raise InputError(f"{key}={name}: columns {' and '.join(map(repr, matches))} differ only in case. Rename one.")
    if not matches:
        known = f"Choose one of: {', '.join(columns)}." if columns else "The data set has no further columns."
        raise InputError(f"{key}={name}: no such column{suggestion(name, list(columns))}. {known}")
    return matches[0]


def metadata_values(cells: Iterable[str], allowed: Collection[str] = ()) -> tuple[str | None, ...]:
    """Convert cells to values.

    Args:
        cells: one cell per image.
        allowed: texts such as NA that are values of this data set, not markers of a missing value
            (`data.allow_values`).

    Returns:
        One text without outer blanks per cell; None if the value is missing (empty, NA, unknown, -).
    """
    not_missing = {squeeze(value) for value in allowed} - {""}
    by_cell: dict[str, str | None] = {}
    values = []
    for cell in cells:
        if cell not in by_cell:
            by_cell[cell] = None if is_missing(cell) and squeeze(cell) not in not_missing else cell.strip()
        values.append(by_cell[cell])
    return tuple(values)
