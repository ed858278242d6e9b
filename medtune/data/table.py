"""Reading of tables as rows of text: CSV files with common separators and encodings, Excel workbooks and Parquet."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from medtune.config.errors import InputError
from medtune.data import table_files, table_text
from medtune.data.table_text import RawTable

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".tab")
SUFFIXES = (*TEXT_SUFFIXES, ".xlsx", ".xlsm", ".parquet")
# Names that pandas assigns to columns without a name.
_NAMELESS = re.compile(r"|Unnamed: \d+(_level_\d+)?|__index_level_\d+__")
# Rows below the first one that are searched for a header.
_HEADER_ROWS = 10
# Invisible characters around names of columns.
_EDGES = "\ufeff\u200b\u200c\u200d\u2060\u200e\u200f"


@dataclass(frozen=True)
class Table:
    """Table with one cell per row and column.

    Attributes:
        name: file name, for messages.
        unit: unit of the numbers in `rows`: line or row.
        columns: unique names, without outer blanks.
        rows: for each row, its number in the file and its cells as text. An empty cell is an empty string.
        notes: assumptions about the file and content that is ignored, one sentence each.
    """

    name: str
    unit: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()

    def where(self, number: int) -> str:
        """Return the location of a row for messages, such as `labels.csv line 7`."""
        return f"{self.name} {self.unit} {number}"


def check_file(file: Path) -> None:
    """Check that the table of data.csv exists.

    Args:
        file: path of the table.

    Raises:
        InputError: the table does not exist. The message lists other tables in the folder.
    """
    if file.is_file():
        return
    others = sorted(path.name for path in file.parent.glob("[!.~]*") if path.suffix.lower() in SUFFIXES)
    hint = f"The folder contains {', '.join(others[:3])}. Set data.csv to one of them, or write" if others else "Write"
    raise InputError(
        f"data.csv={file.name}: no such file in {file.parent}. {hint} {file.name} with the columns path,label,patient"
    )


def check_rows(table: Table, setting: str, columns: str, item: str) -> None:
    """Check that the table has rows below its header.

    Args:
        table: the table.
        setting: setting that names the table, as `key=value`.
        columns: names of the required columns, for the message.
        item: what a row describes, in the singular.

    Raises:
        InputError: the table is empty, or has only one line.
    """
    if table.rows:
        return
    if not table.columns:
        raise InputError(
            f"{setting}: the file is empty. Write a header such as {columns}, and a {table.unit} per {item}"
        )
    raise InputError(
        f"{setting}: the table has only one {table.unit}, which was read as the header (columns: "
        f"{', '.join(table.columns)}). Add a {table.unit} per {item} below it. If it is not a header, add one above it"
    )


def read_table(path: Path, known: Collection[str], sheet: str | None = None) -> Table:
    """Read a table.

    Args:
        path: an existing file.
        known: lower-case column names. A row with at least two of them is a header.
        sheet: sheet of a workbook; None: the only sheet with values.

    Returns:
        The table.

    Raises:
        InputError: the file is not a table, is damaged, its format is ambiguous, or its rows do not fit the header.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        hint = "Save it as .xlsx or .csv" if suffix in (".xls", ".xlsb", ".ods", ".numbers") else "Rename or export it"
        raise InputError(
            f"data.csv={path.name}: unsupported format of a table (supported: {', '.join(SUFFIXES)}). {hint}"
        )
    if sheet is not None and suffix not in (".xlsx", ".xlsm"):
        raise InputError(f"data.sheet={sheet}: {path.name} has no sheets. Remove data.sheet")
    try:
        if suffix in (".xlsx", ".xlsm"):
            raw = table_files.read_workbook(path, sheet)
        elif suffix == ".parquet":
            raw = table_files.read_parquet(path)
        else:
            raw = table_text.read_text(path.read_bytes(), path.name, known)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror or error}. Check the path and the permissions"
        ) from None
    return _clean(raw, path.name, known)


def _clean(raw: RawTable, name: str, known: Collection[str]) -> Table:
    """Remove empty rows and unnamed columns, and fill every row to one cell per column. Reject rows that do not fit."""
    rows = [(number, row) for number, row in raw.rows if any(cell.strip() for cell in row)]
    notes = list(raw.notes)
    if not rows:
        return Table(name, raw.unit, (), (), raw.notes)
    (_, header), *body = rows
    if not _is_header(header, known):
        for number, row in body[:_HEADER_ROWS]:
            if _is_header(row, known):
                raise InputError(f"{name} {raw.unit} {number} looks like the header. Remove the lines above it")
    if _has_row_names(header, [row for _, row in body]):
        header = ["", *header]
    width = len(header)
    named = max((i for i, column in enumerate(header, 1) if column.strip()), default=width)
    cells: list[tuple[int, list[str]]] = []
    for number, row in body:
        filled_to = max((i for i, cell in enumerate(row, 1) if cell.strip()), default=0)
        if len(row) < named or filled_to > width:
            length = max(filled_to, len(row)) if len(row) < named else filled_to
            raise InputError(
                f"{name} {raw.unit} {number}: expected {named} fields, as in the header; found {length}. "
                "Correct the row"
            )
        cells.append((number, [*row[:width], *[""] * (width - len(row))]))
    names = [" ".join(column.strip(_EDGES + " \t\r\n\xa0").split()) for column in header]
    filled = [any(row[i].strip() for _, row in cells) for i in range(width)]
    keep = [i for i in range(width) if not _NAMELESS.fullmatch(names[i])]
    ignored = [i for i in range(width) if i not in keep and filled[i]]
    if ignored:
        which = ", ".join(str(i + 1) for i in ignored)
        index = " (row numbers or names)" if ignored == [0] else ""
        notes.append(f"{name}: column {which} has no name and is ignored{index}")
    columns = tuple(names[i] for i in keep)
    if repeated := [column for column, count in Counter(columns).items() if count > 1]:
        raise InputError(f"{name}: duplicate column {repeated[0]}. Rename or remove one of them")
    return Table(
        name, raw.unit, columns, tuple((number, tuple(row[i] for i in keep)) for number, row in cells), tuple(notes)
    )


def _is_header(row: list[str], known: Collection[str]) -> bool:
    """Return True if a row contains at least two known column names."""
    return len({cell.strip().casefold() for cell in row} & set(known)) > 1


def _has_row_names(header: list[str], body: list[list[str]]) -> bool:
    """Return True if each row begins with a row name without a column in the header, as R writes tables."""
    if not body or not header or not header[-1].strip() or any(len(row) != len(header) + 1 for row in body):
        return False
    names = [row[0].strip() for row in body]
    numbers = all(name.isdecimal() for name in names)
    words = len(names) > 1 and not any("." in name or "/" in name for name in names)
    return (numbers or words) and len(set(names)) == len(names)
