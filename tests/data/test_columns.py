import pytest

from medtune.config.errors import InputError
from medtune.data.columns import find_columns
from medtune.data.table import Table


def table(second: str) -> Table:
    return Table("t.csv", "line", ("path", "label", "label.1"), ((2, ("a.png", "x", "x")), (3, ("b.png", "y", second))))


def test_find_columns__a_column_that_pandas_renamed():
    with pytest.raises(
        InputError,
        match=r"columns label and label\.1 originally had the same name, but differ in 1 rows \(first in t.csv",
    ):
        find_columns(table("x"), {})
    assert find_columns(table("y"), {}) == {"path": 0, "label": 1}
    assert find_columns(table("x"), {"label": "label.1"}) == {"path": 0, "label": 2}
