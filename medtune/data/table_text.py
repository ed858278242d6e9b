"""Parsing of tables in text files, after detection of their encoding and separator."""

import codecs
import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass

from medtune.config.errors import InputError

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "|"}
# Longest first, because the mark of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
# Description of other types of files, and the fix, by the first bytes of the file.
_OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook or zip file. Rename it to .xlsx, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls). Save it as .xlsx or CSV",
    b"PAR1": "a Parquet file. Rename it to .parquet",
}
# Bytes of a non-ASCII character in UTF-8. In Windows-1252, these bytes mean an accented capital letter and symbols, a
# sequence that does not occur in words.
_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
# First line for Excel that states the separator: sep=;
_SEP_LINE = re.compile(r'"?sep=(.)"?[;,\t|]*\r?\n?', re.IGNORECASE)
# Line under the header, as SQL clients print it: +------+-----+ or ------,-----.
_RULE = re.compile(r"[\s,;|+=:-]*-{2,}[\s,;|+=:-]*")


@dataclass(frozen=True)
class RawTable:
    """Unprocessed rows of a file, starting with the header.

    Attributes:
        rows: number of each row in the file, and its fields.
        unit: unit of the numbers, line or row.
        notes: assumptions about the file, one sentence each.
    """

    rows: list[tuple[int, list[str]]]
    unit: str = "line"
    notes: tuple[str, ...] = ()


def read_text(content: bytes, name: str, known: Collection[str]) -> RawTable:
    """Read a table from the content of a text file.

    Args:
        content: content of the file.
        name: name of the file, for messages.
        known: lower-case column names by which a header is recognized.

    Returns:
        The rows.

    Raises:
        InputError: the file is not a text file or not a valid CSV, or its encoding or separator is unknown or
            ambiguous.
    """
    text, notes = _decode(content, name)
    first = 1
    separator = None
    if match := _SEP_LINE.match(text):
        separator, text, first = match[1], text[match.end() :], 2
    if separator is None:
        _check_exported(text, name, known)
        separator = _choose({candidate: _try(text, candidate) for candidate in SEPARATORS}, name, known)
    try:
        rows = _parse(text, separator, first)
    except csv.Error as error:
        raise InputError(
            f"{name}: not a valid CSV: {error}. "
            'Put quotes around complete fields only, and write "" for a quote inside a field'
        ) from None
    return RawTable([(number, [_unwrap(cell) for cell in row]) for number, row in rows], "line", notes)


def _decode(content: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the text of a file, and a note if its encoding is a guess. Raise InputError if there is no good guess."""
    for magic, what in _OTHER_FILES.items():
        if content.startswith(magic):
            raise InputError(f"{name}: it is {what}")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            try:
                return _without_nul(content.decode(encoding), name), ()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{name}: it has a byte order mark of {encoding.upper()}, but is not valid {encoding.upper()} "
                    f"({error.reason}). Save it as UTF-8"
                ) from None
    if b"\0" in content:
        raise InputError(f"{name}: not text, or UTF-16 without a byte order mark. Save it as UTF-8")
    try:
        return content.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        position = error.start
    if match := _UTF8.search(content):
        valid, invalid = (content.count(b"\n", 0, start) + 1 for start in (match.start(), position))
        raise InputError(
            f"{name}: line {valid} has UTF-8 characters, but line {invalid} is not UTF-8. Save the table as UTF-8"
        )
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        raise InputError(f"{name}: neither UTF-8 nor Windows-1252. Save it as UTF-8") from None
    word = re.search(r"[^\s,;|\"]*\Z", text[:position])
    shown = re.split(r"[\s,;|\"]", text[word.start() if word else position :], maxsplit=1)[0][:40]
    return text, (f"{name}: not UTF-8, read as Windows-1252 ({shown}). If this is wrong, save the table as UTF-8",)


def _without_nul(text: str, name: str) -> str:
    """Return the text. Raise InputError if it contains a NUL character."""
    if "\0" in text:
        raise InputError(f"{name}: not text. Save it as UTF-8")
    return text


def _parse(text: str, separator: str, first: int) -> list[tuple[int, list[str]]]:
    """Return the number and the fields of every row that is not blank. `first` is the number of the first line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, start = [], 0
    for row in reader:
        if row:
            rows.append((start + first, row))
        start = reader.line_num
    return rows


def _try(text: str, separator: str) -> tuple[list[str], set[int]]:
    """Return the header and the different row lengths with a separator. If the parser fails, there are no lengths."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] = []
    try:
        header = next((row for row in reader if row), header)
        return header, {len(row) for _, row in _parse(text, separator, 1)}
    except csv.Error:
        return header, set()


def _choose(tried: dict[str, tuple[list[str], set[int]]], name: str, known: Collection[str]) -> str:
    """Return the separator with the best result of `_try`. Raise InputError if several are equally good."""
    # Known names in the header count first, then equal lengths of all rows, then the number of fields.

    def rank(separator: str) -> tuple[int, bool, int]:
        header, lengths = tried[separator]
        return len(_known(header, known)), len(lengths) == 1 and len(header) > 1, len(header)

    best = max(map(rank, tried))
    chosen = [separator for separator in tried if rank(separator) == best]
    if len(chosen) > 1 and best[2] > 1:
        which = " or ".join(SEPARATORS[separator] for separator in chosen)
        raise InputError(f"{name}: the separator is ambiguous ({which}). Add a first line sep={chosen[0]}")
    return chosen[0]


def _known(header: list[str], known: Collection[str]) -> set[str]:
    """Return the known column names in a header."""
    return {column.strip().strip("\ufeff").casefold() for column in header} & set(known)


def _check_exported(text: str, name: str, known: Collection[str]) -> None:
    """Reject a table that a program printed for the screen, with lines of dashes or columns of spaces."""
    lines = [line for line in text.splitlines() if line.strip()][:2]
    if any(_RULE.fullmatch(line) for line in lines):
        raise InputError(f"{name}: has a line of dashes, as printed by SQL clients. Export the table as CSV instead")
    separated = not lines or any(separator in lines[0] for separator in SEPARATORS)
    spaced = [] if separated else re.findall(r'"[^"]*"|\S+', lines[0])
    if len(_known([cell.strip('"') for cell in spaced], known)) > 1:
        raise InputError(f'{name}: columns are separated by spaces. Save it with sep="," (R), or as CSV')


def _unwrap(cell: str) -> str:
    """Remove `="..."` from a cell, which programs write to stop Excel from converting text to a number."""
    match = re.fullmatch(r'="(.*)"', cell, re.DOTALL)
    return match[1].replace('""', '"') if match else cell
