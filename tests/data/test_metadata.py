import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.config.errors import InputError
from medtune.data.identifiers import is_missing
from medtune.data.metadata import find_metadata_column, metadata_values


def test_find_metadata_column__ignores_case():
    assert find_metadata_column(["Sex", "site"], "sex", "evaluate.by") == "Sex"
    assert find_metadata_column(["Sex", "sex"], "sex", "evaluate.by") == "sex"


@pytest.mark.parametrize(
    ("columns", "name", "message"),
    [
        (["Sex", "SEX"], "sex", "evaluate.by=sex: columns 'Sex' and 'SEX' differ only in case"),
        (
            ["sex", "site"],
            "sexe",
            r"evaluate.by=sexe: no such column \(did you mean 'sex'\?\). Choose one of: sex, site",
        ),
        ([], "sex", "evaluate.by=sex: no such column. The data set has no further columns"),
    ],
)
def test_find_metadata_column__ambiguous_or_unknown_name_is_an_error(columns, name, message):
    with pytest.raises(InputError, match=message):
        find_metadata_column(columns, name, "evaluate.by")


def test_metadata_values__allowed_markers_are_values():
    assert metadata_values([" A", "unknown", "", "N/A"]) == ("A", None, None, None)
    assert metadata_values(["unknown", "", "N/A"], ["Unknown", ""]) == ("unknown", None, None)


@given(st.lists(st.text()))
def test_metadata_values__are_missing_or_stripped(cells):
    values = metadata_values(cells)
    assert len(values) == len(cells)
    assert all(
        value is None if is_missing(cell) else value == cell.strip() for cell, value in zip(cells, values, strict=True)
    )
