from pathlib import Path

import pytest

from medtune.config.errors import InputError
from medtune.data.sources.folder import Params
from medtune.data.table import Table
from medtune.data.table_rows import check_table, read_rows

POSITIONS = {"path": 0, "label": 1, "patient": 2}


def table(*rows: tuple[str, ...]) -> Table:
    return Table("t.csv", "line", ("path", "label", "group", "age"), tuple(enumerate(rows, 2)))


def test_read_rows__other_columns_are_metadata():
    (sample,) = read_rows(table((" a ", "x", "P1", "61")), POSITIONS, Path("/root"), "images/{path}.png")
    assert (sample.path, sample.label, sample.patient_id) == ("images/a.png", "x", "P1")
    assert (sample.metadata, sample.where) == ({"age": "61"}, "t.csv line 2")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a.png", "x", "=A7", ""), "t.csv line 2: patient is '=A7', a formula"),
        (("a.png", "", "P1", ""), "label is ''; every image needs a value"),
        (("../a.png", "x", "P1", ""), "is outside of data.root"),
        (("a.png", "x\ty", "P1", ""), "expected one line of text"),
    ],
)
def test_read_rows__invalid_cells_are_an_error(row, message):
    with pytest.raises(InputError, match=message):
        read_rows(table(row), POSITIONS, Path("/root"), "{path}")


def test_check_table__table_without_rows_is_an_error():
    with pytest.raises(InputError, match=r"data\.csv=t\.csv: the table has only one line"):
        check_table(table(), Params(csv="t.csv"))


@pytest.mark.parametrize(("column", "protocol"), [("split", "column"), ("site", "site")])
def test_check_table__column_unused_by_the_protocol_is_an_error(column, protocol):
    params = Params(csv="t.csv", columns={column: "c"})
    message = rf"data\.columns\.{column}=c: .*data\.split\.protocol={protocol}"
    with pytest.raises(InputError, match=message):
        check_table(table(("a", "x", "P", "")), params)
