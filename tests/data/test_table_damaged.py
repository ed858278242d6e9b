"""Damaged files and files that are not tables: read, or rejected with one line, without a traceback."""

import io

import openpyxl
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.config.errors import InputError
from medtune.data.columns import KNOWN, find_columns
from medtune.data.table import read_table

ROWS = [("path", "label", "group"), ("a.png", "benign", "M\u00fcller"), ("b.png", "x;y", "7")]


def workbook():
    book = openpyxl.Workbook()
    for row in ROWS:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def parquet():
    out = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({name: list(column) for name, *column in zip(*ROWS, strict=True)}), out)
    return out.getvalue()


TEXT = "\r\n".join(";".join(row) for row in ROWS)
VALID = {
    "t.csv": TEXT.encode("utf-8-sig"),
    "t.txt": TEXT.replace(";", "\t").encode("utf-16"),
    "t.tsv": TEXT.encode("cp1252"),
    "t.xlsx": workbook(),
    "t.parquet": parquet(),
}


def check_read(path):
    """Read a table, or check that the error is one line with the file name."""
    table, message = None, path.name
    try:
        table = read_table(path, KNOWN)
        find_columns(table, {})
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert path.name in message
    assert table is None or all(len(row) == len(table.columns) for _, row in table.rows)


@pytest.mark.parametrize("name", VALID)
@settings(max_examples=60)
@given(data=st.data())
def test_read_table__damaged_files_are_read_or_rejected(tmp_path_factory, name, data):
    content = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content[:length] if data.draw(st.booleans()) else content)
    check_read(path)


@settings(max_examples=200)
@given(st.text(st.sampled_from('path,label;group|\t"\n\r=\u00fc\ufeff -7'), max_size=60))
def test_read_table__any_text_is_read_or_rejected(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "t.csv"
    path.write_bytes(text.encode())
    check_read(path)
