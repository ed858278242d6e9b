"""Excel workbooks and Parquet files, with values converted to the text that a CSV would contain."""

import datetime
import importlib
import math
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

from medtune.config.errors import InputError, set_option
from medtune.data.table_text import RawTable
from medtune.serving.one_line import first_line

# Excel stores 15 digits, so different numbers of at least this value may have become equal.
EXACT = 10**15


def read_workbook(path: Path, sheet: str | None) -> RawTable:
    """Read one sheet of an Excel workbook.

    Args:
        path: the workbook.
        sheet: name of the sheet; None: the only sheet with values.

    Returns:
        The rows as text, filled to equal length.

    Raises:
        InputError: openpyxl is not installed, the workbook is damaged or protected, the sheet does not exist or is
            ambiguous, or a formula has no stored value.
    """
    openpyxl = _library("openpyxl", path)
    with path.open("rb") as stream:
        if stream.read(4) == b"\xd0\xcf\x11\xe0":
            raise InputError(f"{path}: protected by a password, or an old .xls. Save it as .xlsx without a password")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns about styles and validations, which are not needed
            values = openpyxl.load_workbook(path, read_only=True, data_only=True)
            name = _choose_sheet(values, path, sheet)
            rows = list(_sheet_rows(values[name]))
            hidden = _hidden_rows(path, values[name])
            if _has_formulas(path):
                formulas = openpyxl.load_workbook(path, read_only=True)
                _check_formulas(rows, _sheet_rows(formulas[name]), path)
                formulas.close()
            values.close()
    except InputError:
        raise
    except Exception as error:  # a damaged workbook raises errors of zipfile, XML parsers and openpyxl
        raise InputError(
            f"{path}: not a readable Excel workbook ({first_line(error)}). Save it again as .xlsx or .csv"
        ) from None
    width = max((len(row) for _, row in rows), default=0)
    padded = [(number, [to_text(value) for value in row] + [""] * (width - len(row))) for number, row in rows]
    note = f"{path.name}: {hidden:,} rows are hidden, for example by a filter. They are used like the others"
    return RawTable(padded, "row", (note,) if hidden else ())


def _hidden_rows(path: Path, sheet: Any) -> int:
    """Return the number of hidden rows, which openpyxl does not provide in its read-only mode."""
    member = str(getattr(sheet, "_worksheet_path", "")).lstrip("/")
    with zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            return 0
        return len(re.findall(rb'<row [^>]*\bhidden="(?:1|true)"', archive.read(member)))


def _choose_sheet(workbook: Any, path: Path, sheet: str | None) -> str:
    """Return the name of the sheet to read. Raise InputError if it does not exist or is ambiguous."""
    names: list[str] = [worksheet.title for worksheet in workbook.worksheets]
    if sheet is not None:
        if sheet not in names:
            raise InputError(f"data.sheet={sheet}: {path.name} has no such sheet. Choose one of: {', '.join(names)}")
        return sheet
    filled: list[str] = [worksheet.title for worksheet in workbook.worksheets if any(_sheet_rows(worksheet))]
    if len(filled) > 1:
        options = " or ".join(set_option("data.sheet", name) for name in filled)
        raise InputError(f"{path.name}: {len(filled)} sheets have values. Choose one with {options}")
    return filled[0] if filled else names[0]


def _sheet_rows(sheet: Any) -> Iterator[tuple[int, list[Any]]]:
    """Yield the number and the values of each row that is not empty, without empty cells at its end."""
    sheet.reset_dimensions()  # some programs store wrong dimensions
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        length = max((i for i, value in enumerate(row, 1) if value not in (None, "")), default=0)
        if length:
            yield number, list(row[:length])


def _has_formulas(path: Path) -> bool:
    """Return True if a sheet contains a formula. `read_workbook` then reads the workbook a second time."""
    with zipfile.ZipFile(path) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        return any(b"<f" in archive.read(name) for name in sheets)


def _check_formulas(
    rows: Iterable[tuple[int, list[Any]]], formulas: Iterable[tuple[int, list[Any]]], path: Path
) -> None:
    """Reject a formula whose value the workbook does not store. `formulas` are `rows` with formulas for values."""
    values = dict(rows)
    for number, row in formulas:
        stored = values.get(number, [])
        for column, cell in enumerate(row):
            is_formula = (isinstance(cell, str) and cell.startswith("=")) or hasattr(cell, "ref")
            if is_formula and (column >= len(stored) or stored[column] is None):
                raise InputError(
                    f"{path.name} row {number}: column {column + 1} is a formula without a stored value. "
                    "Open and save the workbook in Excel, or replace formulas by their values"
                )


def read_parquet(path: Path) -> RawTable:
    """Read a Parquet file.

    Args:
        path: the file.

    Returns:
        The rows as text.

    Raises:
        InputError: pyarrow is not installed, or the file is damaged or has nested columns.
    """
    parquet = _library("pyarrow.parquet", path)
    try:
        table = parquet.ParquetFile(path).read()
        columns = [column.to_pylist() for column in table.columns]
    except Exception as error:  # pyarrow's errors for damaged files include OSErrors without strerror
        if isinstance(error, OSError) and error.strerror:
            raise
        raise InputError(
            f"{path}: not a readable Parquet file ({first_line(error)}). Write it again, or save it as CSV"
        ) from None
    rows: list[tuple[int, list[str]]] = [(0, list(table.column_names))]
    for number, row in enumerate(zip(*columns, strict=True), 1):
        try:
            rows.append((number, [to_text(value) for value in row]))
        except TypeError as error:
            raise InputError(f"{path.name} row {number}: {error}. Store text or numbers") from None
    return RawTable(rows, "row")


def to_text(value: Any) -> str:
    """Convert the value of a cell to text.

    Args:
        value: the value as the library returns it.

    Returns:
        The text: whole numbers without a decimal point, dates in ISO form, missing values as an empty string.

    Raises:
        TypeError: the value is a list, a mapping or of another type that does not fit into a cell.
    """
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int | float | Decimal):
        if isinstance(value, float) and abs(value) >= EXACT:
            return f"{value:.14E}"
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time() and value.tzinfo is None
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str | datetime.timedelta):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__}")


def _library(name: str, path: Path) -> ModuleType:
    """Import a library that is not always installed. Raise InputError if it is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        package = name.partition(".")[0]
        raise InputError(
            f"data.csv={path.name}: needs {package}, which is not installed. Run pip install {package}, or save the "
            "table as CSV"
        ) from None
