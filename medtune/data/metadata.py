"""Metadata columns of a data set (sex, site, scanner): which one a name means, and its values."""

from collections.abc import Collection, Iterable, Sequence

from medtune.config.errors import InputError, suggestion
from medtune.data.columns import fold
from medtune.data.identifiers import is_missing, squeeze


def find_metadata_column(columns: Sequence[str], name: str, key: str) -> str:
    """Return the column that a name means, in any case.

    Args:
        columns: the metadata columns that exist.
        name: as the user wrote it.
        key: the params key that names it, for the message.

    Raises:
        InputError: no column has that name, or several have it in another case.
    """
    if name in columns:
        return name
    found = [column for column in columns if fold(column) == fold(name)]
    if len(found) > 1:
        raise InputError(f"{key}={name}: columns {' and '.join(map(repr, found))} differ in case only. Rename one.")
    if not found:
        known = f"Choose one of: {', '.join(columns)}." if columns else "The data set has no further columns."
        raise InputError(f"{key}={name}: no such column{suggestion(name, list(columns))}. {known}")
    return found[0]


def metadata_values(cells: Iterable[str], allowed: Collection[str] = ()) -> tuple[str | None, ...]:
    """Return cells as values: text without outer blanks, None where the value is missing (empty, NA, unknown, -).

    Args:
        cells: one per image.
        allowed: values that are kept although they look like a marker of a missing value (`data.allow_values`).
    """
    kept = {squeeze(value) for value in allowed} - {""}
    by_cell: dict[str, str | None] = {}
    values = []
    for cell in cells:
        if cell not in by_cell:
            by_cell[cell] = None if is_missing(cell) and squeeze(cell) not in kept else cell.strip()
        values.append(by_cell[cell])
    return tuple(values)
