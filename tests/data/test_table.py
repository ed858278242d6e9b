"""Tables from Excel, R, SQL and pandas: read correctly, or rejected with one line that states the fix."""

import csv
import datetime
import io
import re

import openpyxl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medtune.config.errors import InputError
from medtune.data.columns import KNOWN
from medtune.data.table import read_table

ROWS = [("a 1.png", "ben,ign", "7"), ("b.png", "mal;ignant", "8"), ("gr\u00f6\u00dfe.png", 'say "x"', "M\u00fcller")]
HEADER = ("path", "label", "group")


def csv_text(separator=",", newline="\n", quoting=csv.QUOTE_MINIMAL, rows=ROWS, header=HEADER):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=newline, quoting=quoting)
    writer.writerows([header, *rows] if header else rows)
    return text.getvalue()


def workbook(*rows, sheets=()):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for name, cells in sheets:
        book.create_sheet(name).append(cells)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def parquet(**columns):
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def read(folder, name, content, sheet=None):
    (folder / name).write_bytes(content)
    return read_table(folder / name, KNOWN, sheet)


def cells(table, header=HEADER):
    positions = [table.columns.index(name) for name in header]
    return [tuple(row[i] for i in positions) for _, row in table.rows]


NOTHING = ("", "", "")
WITH_INDEX = ("", *HEADER)
INDEXED = [(str(n), *row) for n, row in enumerate(ROWS)]
READ = {
    "pandas": ("t.csv", csv_text().encode()),
    "pandas with its index": ("t.csv", csv_text(rows=INDEXED, header=("", *HEADER)).encode()),
    "pandas with a stored index": ("t.csv", csv_text(rows=INDEXED, header=("Unnamed: 0", *HEADER)).encode()),
    "pandas, tabs": ("t.tsv", csv_text("\t").encode()),
    "pandas, everything quoted": ("t.csv", csv_text(quoting=csv.QUOTE_ALL).encode()),
    "Excel, comma, UTF-8": ("t.csv", csv_text(newline="\r\n").encode("utf-8-sig")),
    "Excel, semicolon, UTF-8": ("t.csv", csv_text(";", "\r\n").encode("utf-8-sig")),
    "Excel, semicolon, Windows-1252": ("t.csv", csv_text(";", "\r\n").encode("cp1252")),
    "Excel, Unicode text": ("t.txt", csv_text("\t", "\r\n").encode("utf-16")),
    "Excel, Unicode text, big endian": ("t.txt", ("\ufeff" + csv_text("\t", "\r\n")).encode("utf-16-be")),
    "Excel, sep line": ("t.csv", ("sep=;\r\n" + csv_text(";", "\r\n")).encode("cp1252")),
    "Excel, sep line with UTF-8": ("t.csv", ("sep=|\r\n" + csv_text("|", "\r\n")).encode("utf-8-sig")),
    "Excel, empty columns and rows": (
        "t.csv",
        csv_text(";", rows=[(*row, "", "") for row in [*ROWS, NOTHING, NOTHING]], header=(*HEADER, "", "")).encode(),
    ),
    "Excel for Mac, old line ends": ("t.csv", csv_text(newline="\r").encode()),
    "Excel, text protected from number conversion": ("t.csv", b'path,label,group\na 1.png,"ben,ign",="7"\n'),
    "R, write.csv": ("t.csv", csv_text(rows=INDEXED, header=WITH_INDEX, quoting=csv.QUOTE_NONNUMERIC).encode()),
    "R, write.csv2": ("t.csv", csv_text(";", quoting=csv.QUOTE_ALL, rows=INDEXED, header=WITH_INDEX).encode("cp1252")),
    "R, write.table with row numbers": (
        "t.txt", (csv_text("\t", rows=[]) + csv_text("\t", rows=INDEXED, header=())).encode()
    ),
    "R, write.table without row names": ("t.tsv", csv_text("\t", quoting=csv.QUOTE_ALL).encode()),
    "R, write.table with row names": (
        "t.txt", (csv_text(rows=[]) + csv_text(rows=[(f"row {row[2]}", *row) for row in ROWS], header=())).encode()
    ),
    "SQL, psql copy": ("t.csv", csv_text().encode()),
    "SQL, sqlite pipe": ("t.txt", csv_text("|").encode()),
    "SQL, blank lines above the header": ("t.csv", ("\n\n" + csv_text()).encode()),
    "openpyxl": ("t.xlsx", workbook(HEADER, ("a 1.png", "ben,ign", 7), ("b.png", "mal;ignant", 8.0), ROWS[2])),
    "openpyxl with an index": ("t.xlsx", workbook((None, *HEADER), *((n, *row) for n, row in enumerate(ROWS)))),
    "openpyxl with an empty sheet": ("t.xlsx", workbook(HEADER, *ROWS, sheets=[("empty", ())])),
    "pyarrow": ("t.parquet", parquet(**dict(zip(HEADER, zip(*ROWS, strict=True), strict=True)))),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_read_table__returns_the_written_rows(tmp_path, case):
    name, content = READ[case]
    table = read(tmp_path, name, content)
    assert cells(table) == ROWS[: len(table.rows)]
    assert len(table.rows) == (1 if "protected from" in case else 3)
    assert "" not in table.columns


REJECTED = {
    "header twice": ("t.csv", b"path,label,label\na,b,c\n", "duplicate column label"),
    "header twice after trimming": ("t.csv", b"path,label, label \na,b,c\n", "duplicate column label"),
    "short row": ("t.csv", b"path,label,group\na,b,c\na,b\n", "line 3: expected 3 fields, as in the header; found 2"),
    "title above the header": ("t.csv", b"my images\npath,label\na,b\n", r"line 2 looks like the header\. Remove"),
    "long rows": ("t.csv", b"path,label\na.png,b,c\nb.png,c,d\n", "line 2: expected 2 fields"),
    "long row": ("t.csv", b"path,label\na,b\na,b,c\n", "t.csv line 3: expected 2 fields, as in the header; found 3"),
    "duplicate row numbers": ("t.csv", b"path,label\n1,a,b\n1,a,b\n", "line 2: expected 2 fields"),
    "open quote": ("t.csv", b'path,label\na.png,"cat\n', "not a valid CSV"),
    "quote in the middle of a field": ("t.csv", b'path,label\n"a"b.png,cat\n', "not a valid CSV"),
    "psql output": ("t.txt", b" path | label \n------+-------\n a | b\n(1 row)\n", "line of dashes, as printed"),
    "mysql output": ("t.txt", b"+------+-------+\n| path | label |\n", "line of dashes, as printed"),
    "sqlcmd": ("t.csv", b"path,label\n----,-----\na,b\n", "line of dashes, as printed"),
    "R's spaces": ("t.txt", b'"path" "label" "group"\n"1" "a.png" "x" "p"\n', "separated by spaces. Save it with sep"),
    "two separators": ("t.csv", b"path,label|group\n", r"ambiguous \(a comma or \|\)\. Add a first line sep="),
    "workbook named .csv": ("t.csv", workbook(HEADER), "it is an Excel workbook"),
    "old workbook named .csv": ("t.csv", b"\xd0\xcf\x11\xe0\xa1\xb1", "Save it as .xlsx or CSV"),
    "Parquet named .csv": ("t.csv", parquet(path=["a"]), "Rename it to .parquet"),
    "old workbook": ("t.xls", b"\xd0\xcf", r"data\.csv=t\.xls: unsupported format of a table .* Save it as \.xlsx"),
    "LibreOffice": ("t.ods", b"PK", "Save it as .xlsx"),
    "UTF-16 without a mark": ("t.csv", csv_text().encode("utf-16-le"), "UTF-16 without a byte order mark. Save it"),
    "no encoding": ("t.csv", b"path,label\n\x81\xff,a\n", "neither UTF-8 nor Windows-1252"),
    "two encodings": ("t.csv", "path,label\n\u00e4.png,a\n".encode() + "\u00fc.png,b\n".encode("cp1252"),
                      "line 2 has UTF-8 characters, but line 3 is not"),
    "broken UTF-8": ("t.csv", b"\xef\xbb\xbfpath,label\n\xff.png,a\n", "is not valid UTF-8-SIG"),
    "damaged workbook": ("t.xlsx", b"PK\x03\x04", "not a readable Excel workbook"),
    "damaged Parquet": ("t.parquet", b"PAR1", "not a readable Parquet file"),
    "several sheets": ("t.xlsx", workbook(HEADER, ROWS[0], sheets=[("My notes", ("x",))]),
                       "2 sheets have values. Choose .* --set data.sheet=Sheet or --set 'data.sheet=\"My notes\"'"),
    "formula without a value": ("t.xlsx", workbook(HEADER, ("a.png", "x", "=1+1")),
                                "row 2: column 3 is a formula without a stored value"),
    "nested Parquet": ("t.parquet", parquet(path=[["a"]]), "row 1: a value of type list"),
}  # fmt: skip


@pytest.mark.parametrize("case", REJECTED)
def test_read_table__invalid_files_give_a_one_line_error(tmp_path, case):
    name, content, message = REJECTED[case]
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, name, content)
    assert "\n" not in str(error.value)


def test_read_table__reports_the_assumed_encoding(tmp_path):
    assert read(tmp_path, "t.csv", csv_text().encode()).notes == ()
    (note,) = read(tmp_path, "t.csv", csv_text(";").encode("cp1252")).notes
    assert "t.csv: not UTF-8, read as Windows-1252 (gr\u00f6\u00dfe.png)" in note


def test_read_table__reports_an_ignored_column(tmp_path):
    (note,) = read(tmp_path, "t.csv", b",path,label\n0,a,b\n").notes
    assert note == "t.csv: column 1 has no name and is ignored (row numbers or names)"
    (note,) = read(tmp_path, "t.csv", b"path,label,\na,b,a remark\n").notes
    assert note == "t.csv: column 3 has no name and is ignored"


def test_read_table__line_numbers_are_those_of_the_file(tmp_path):
    table = read(tmp_path, "t.csv", b'sep=,\n\npath,label,x\na,b,"two\nlines"\n\n,,\nc,d,e\n')
    assert [number for number, _ in table.rows] == [4, 8]
    assert table.where(8) == "t.csv line 8"


def test_read_table__column_name_of_several_lines_is_joined(tmp_path):
    assert read(tmp_path, "t.csv", b'path,label,"Patient\n ID"\na,b,c\n').columns == ("path", "label", "Patient ID")


def test_read_table__encrypted_workbook_is_an_error(tmp_path):
    with pytest.raises(InputError, match="protected by a password"):
        read(tmp_path, "t.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


def test_read_table__decimal_commas_are_unchanged(tmp_path):
    table = read(tmp_path, "t.csv", b"path;label;age;dose\na.png;x;1,5;2,25\nb.png;y;3,0;4\n")
    assert table.columns == ("path", "label", "age", "dose")
    assert table.rows[0][1] == ("a.png", "x", "1,5", "2,25")


def test_read_table__workbook_values_become_text(tmp_path):
    day = datetime.datetime(2026, 3, 1)
    table = read(
        tmp_path, "t.xlsx", workbook(HEADER, (7.0, 1.5, day), (True, day.replace(hour=9), day.time()), (10**15, 0, "x"))
    )
    assert cells(table) == [("7", "1.5", "2026-03-01"), ("TRUE", "2026-03-01 09:00:00", "00:00:00"),
                            ("1000000000000000", "0", "x")]  # fmt: skip


def test_read_table__long_numbers_of_a_workbook_are_recognizable(tmp_path):
    table = read(tmp_path, "t.xlsx", workbook(HEADER, ("a", "b", 1.2345678901234567e16)))
    assert cells(table)[0][2] == "1.23456789012346E+16"


def test_read_table__selected_sheet(tmp_path):
    content = workbook(("x",), sheets=[("Labels", HEADER)])
    assert read(tmp_path, "t.xlsx", content, "Labels").columns == HEADER
    with pytest.raises(InputError, match=r"data\.sheet=labels: t\.xlsx has no such sheet. .* Sheet, Labels"):
        read(tmp_path, "t.xlsx", content, "labels")
    with pytest.raises(InputError, match=r"t\.csv has no sheets"):
        read(tmp_path, "t.csv", b"path\n", "Labels")


def test_read_table__parquet_values_become_text(tmp_path):
    columns = {"path": ["a", None], "group": [7.0, float("nan")], "label": pa.array(["x", "y"]).dictionary_encode(),
               "day": [datetime.date(2026, 3, 1), None], "n": [1, None]}  # fmt: skip
    table = read(tmp_path, "t.parquet", parquet(**columns))
    assert table.columns == ("path", "group", "label", "day", "n")
    assert table.rows == ((1, ("a", "7", "x", "2026-03-01", "1")), (2, ("", "", "y", "", "")))
    assert table.where(1) == "t.parquet row 1"


def test_read_table__hidden_rows_are_read_and_counted(tmp_path):
    book = openpyxl.Workbook()
    for row in (["path", "label"], ["a.png", "x"], ["b.png", "y"], ["c.png", "x"]):
        book.active.append(row)
    for number in (3, 4):
        book.active.row_dimensions[number].hidden = True
    out = io.BytesIO()
    book.save(out)
    table = read(tmp_path, "t.xlsx", out.getvalue())
    assert len(table.rows) == 3
    assert table.notes == ("t.xlsx: 2 rows are hidden, for example by a filter. They are used like the others",)


def test_read_table__empty_file_has_no_columns(tmp_path):
    for content in (b"", b"\n\n", b"\xef\xbb\xbf"):
        assert read(tmp_path, "t.csv", content).columns == ()
    assert read(tmp_path, "t.xlsx", workbook()).rows == ()


CELL = st.text(st.characters(codec="cp1252", exclude_characters="\r\n\0", exclude_categories=("Cc",)), max_size=8)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_read_table__round_trip(tmp_path_factory, rows, separator, encoding, quoting, newline):
    assume(all(any(cell.strip() for cell in row) for row in rows))  # empty rows are ignored
    assume(not any(cell.startswith('="') for row in rows for cell in row))
    content = csv_text(separator, newline, quoting, rows).encode(encoding)
    assume(encoding != "cp1252" or not re.search("[\u00c2-\u00f4][\x80-\xbf\u0152-\u2122]", content.decode("cp1252")))
    assume("-" not in "".join(rows[0]))  # lines of dashes are rejected
    assert cells(read(tmp_path_factory.mktemp("t"), "t.csv", content)) == rows
