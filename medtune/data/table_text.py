"""Tables in text: which encoding, which separator, and the fields of each line."""

import codecs
import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass

from medtune.config.errors import InputError

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "|"}
# Longest first: the mark of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook or zip file: give it its own extension (.xlsx), or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls): save it as .xlsx or CSV",
    b"PAR1": "a Parquet file: give it the extension .parquet",
}
# A character beyond ASCII. In Windows-1252 it would be a capital with an accent and then symbols: no word.
_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_SEP_LINE = re.compile(r'"?sep=(.)"?[;,\t|]*\r?\n?', re.IGNORECASE)
# +------+-----+ or ------,----- under the header: what SQL clients print on a screen.
_RULE = re.compile(r"[\s,;|+=:-]*-{2,}[\s,;|+=:-]*")


@dataclass(frozen=True)
class RawTable:
    """Rows as they are in the file, the header first.

    Attributes:
        rows: number in the file and fields of each row.
        unit: what the rows are numbered in.
        notes: what was assumed.
    """

    rows: list[tuple[int, list[str]]]
    unit: str = "line"
    notes: tuple[str, ...] = ()


def read_text(content: bytes, name: str, known: Collection[str]) -> RawTable:
    """Read a table from the content of a text file.

    Args:
        content: the file.
        name: its name, for messages.
        known: column names that a header is recognized by, in lower case.

    Raises:
        InputError: not text, in no known encoding, or no table with one separator.
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
            f"{name}: not a CSV: {error}. Put quotes around whole fields only, and double those inside"
        ) from None
    return RawTable([(number, [_unwrap(cell) for cell in row]) for number, row in rows], "line", notes)


def _decode(content: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    for magic, what in _OTHER_FILES.items():
        if content.startswith(magic):
            raise InputError(f"{name} is {what}")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            try:
                return _without_nul(content.decode(encoding), name), ()
            except UnicodeDecodeError as error:
                raise InputError(f"{name}: not {encoding.upper()}, as its first bytes say: {error.reason}") from None
    if b"\0" in content:
        raise InputError(f"{name}: not text, or UTF-16 without a byte order mark. Save it as UTF-8")
    try:
        return content.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        position = error.start
    if match := _UTF8.search(content):
        good, bad = (content.count(b"\n", 0, at) + 1 for at in (match.start(), position))
        raise InputError(
            f"{name}: line {good} has UTF-8 characters, and line {bad} others: two encodings, or an unknown one. "
            "Save it as UTF-8"
        )
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        raise InputError(f"{name}: neither UTF-8 nor Windows-1252. Save it as UTF-8") from None
    word = re.search(r"[^\s,;|\"]*\Z", text[:position])
    shown = re.split(r"[\s,;|\"]", text[word.start() if word else position :], maxsplit=1)[0][:40]
    return text, (f"{name}: not UTF-8, read as Windows-1252 ({shown}). If this is wrong, save the table as UTF-8",)


def _without_nul(text: str, name: str) -> str:
    if "\0" in text:
        raise InputError(f"{name}: not text. Save it as UTF-8")
    return text


def _parse(text: str, separator: str, first: int) -> list[tuple[int, list[str]]]:
    """The fields of every line that is not blank, and its number."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, start = [], 0
    for row in reader:
        if row:
            rows.append((start + first, row))
        start = reader.line_num
    return rows


def _try(text: str, separator: str) -> tuple[list[str], set[int]]:
    """The header, and the numbers of fields that rows have; none where they cannot be read with this separator."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] = []
    try:
        header = next((row for row in reader if row), header)
        return header, {len(row) for _, row in _parse(text, separator, 1)}
    except csv.Error:
        return header, set()


def _choose(tried: dict[str, tuple[list[str], set[int]]], name: str, known: Collection[str]) -> str:
    """The separator whose header has the most known names; then the same number of fields per row, then most fields."""

    def rank(separator: str) -> tuple[int, bool, int]:
        header, lengths = tried[separator]
        return len(_known(header, known)), len(lengths) == 1 and len(header) > 1, len(header)

    best = max(map(rank, tried))
    chosen = [separator for separator in tried if rank(separator) == best]
    if len(chosen) > 1 and best[2] > 1:
        which = " or ".join(SEPARATORS[separator] for separator in chosen)
        raise InputError(f"{name}: columns are separated by {which}. Name one in the first line: sep={chosen[0]}")
    return chosen[0]


def _known(header: list[str], known: Collection[str]) -> set[str]:
    return {column.strip().strip("\ufeff").casefold() for column in header} & set(known)


def _check_exported(text: str, name: str, known: Collection[str]) -> None:
    """Refuse what programs print rather than export."""
    lines = [line for line in text.splitlines() if line.strip()][:2]
    if any(_RULE.fullmatch(line) for line in lines):
        raise InputError(f"{name}: a line of dashes, as SQL clients print. Export the table as CSV instead")
    separated = not lines or any(separator in lines[0] for separator in SEPARATORS)
    spaced = [] if separated else re.findall(r'"[^"]*"|\S+', lines[0])
    if len(_known([cell.strip('"') for cell in spaced], known)) > 1:
        raise InputError(f'{name}: columns are separated by spaces. Write it with sep="," (R), or as CSV')


def _unwrap(cell: str) -> str:
    """A cell without `="..."`, which keeps Excel from reading text as a number."""
    match = re.fullmatch(r'="(.*)"', cell, re.DOTALL)
    return match[1].replace('""', '"') if match else cell
