import pytest

from medtune.config.errors import InputError
from medtune.data.columns import find_columns
from medtune.data.table import Table


def table(second: str) -> Table:
    return Table("t.csv", "line", ("path", "label", "label.1"), ((2, ("a.png", "x", "x")), (3, ("b.png", "y", second))))


def test_find_columns__column_renamed_by_pandas():
    with pytest.raises(
        InputError,
        match=r"columns label and label\.1 originally had the same name, but differ in 1 row \(first in t.csv",
    ):
        find_columns(table("x"), {})
    assert find_columns(table("y"), {}) == {"path": 0, "label": 1}
    assert find_columns(table("x"), {"label": "label.1"}) == {"path": 0, "label": 2}


@pytest.mark.parametrize(("header", "expected"), [
    (("path", "label", "patient"), 2),
    (("path", "label", "group"), 2),
    (("path", "group", "label"), 1),
    (("path", "label", "slide"), None),
])  # fmt: skip
def test_find_columns__patient_has_two_names(header, expected):
    assert find_columns(Table("t.csv", "line", header, ()), {}).get("patient") == expected


def test_find_columns__two_columns_for_the_patient_are_ambiguous():
    ambiguous = Table("t.csv", "line", ("path", "label", "group", "Patient"), ())
    with pytest.raises(
        InputError, match=r"both columns Patient and group can be the patient\. Choose one of them with"
    ):
        find_columns(ambiguous, {})
    assert find_columns(ambiguous, {"patient": "group"})["patient"] == 2
