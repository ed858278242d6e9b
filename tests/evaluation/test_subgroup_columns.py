import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.config.errors import InputError
from medtune.config.schema import EvaluateParams
from medtune.evaluation.subgroup_columns import MAX_VALUES, NOT_RECORDED, subgroup_columns

COLUMNS = {
    "sex": ["F", "M", "", "F", "NA", "M"],
    "Site": ["10", "9", "9", "10", "9", "10"],
    "age": ["40", "39.5", "", "60", "75", "12"],
    "case_no": [f"c{k}" for k in range(6)],
}


def single_column(columns, allowed=(), **options):
    (result,) = subgroup_columns(EvaluateParams(**options), columns, allowed)
    return result


def test_subgroup_columns__missing_values_are_a_subgroup():
    result = single_column(COLUMNS, by=["sex"])
    assert result.values.tolist() == ["F", "M", NOT_RECORDED, "F", NOT_RECORDED, "M"]
    assert result.order == ("F", "M", NOT_RECORDED)


def test_subgroup_columns__allowed_values_are_not_missing():
    assert single_column(COLUMNS, ["na"], by=["sex"]).order == ("F", "M", "NA", NOT_RECORDED)


def test_subgroup_columns__sorts_numbers_by_value_and_ignores_case_of_the_name():
    result = single_column(COLUMNS, by=["site"])
    assert (result.name, result.order) == ("Site", ("9", "10"))


def test_subgroup_columns__ranges():
    result = single_column(COLUMNS, by=["age"], bins={"age": [40, 60]})
    assert result.order == ("below 40", "40 to below 60", "60 or more", NOT_RECORDED)
    assert result.values.tolist() == [
        "40 to below 60", "below 40", NOT_RECORDED, "60 or more", "60 or more", "below 40",
    ]  # fmt: skip


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5, unique=True),
)
def test_subgroup_columns__every_number_is_in_the_range_of_its_limits(numbers, limits):
    limits = sorted(limits)
    result = single_column({"x": [repr(number) for number in numbers]}, by=["x"], bins={"x": limits})
    assert len(result.order) == len(limits) + 1
    for number, value in zip(numbers, result.values.tolist(), strict=True):
        assert result.order.index(value) == sum(limit <= number for limit in limits)


@given(st.lists(st.sampled_from(["A", "B", "", "nan", "unknown", "C c"]), min_size=1, max_size=30))
def test_subgroup_columns__every_image_is_in_one_subgroup(cells):
    result = single_column({"x": cells}, by=["x"])
    assert set(result.values.tolist()) == set(result.order)
    assert (result.values == NOT_RECORDED).tolist() == [cell in ("", "nan", "unknown") for cell in cells]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            COLUMNS,
            {"by": ["sexe"]},
            r"evaluate\.by=sexe: no such column \(did you mean 'sex'\?\)\. Choose one of: sex, S",
        ),
        ({}, {"by": ["sex"]}, r"evaluate\.by=sex: no such column\. The data set has no further columns"),
        (COLUMNS, {"by": ["Site", "site"]}, "the same column"),
        (
            COLUMNS,
            {"by": ["sex"], "bins": {"sex": [1]}},
            r"evaluate\.bins\.sex: the column has the value 'F', which is not a number",
        ),
        ({"sex": ["F", "f "]}, {"by": ["sex"]}, r"evaluate\.by=sex: the values 'F' and 'f' differ only in case"),
        (
            {"age": [str(k) for k in range(MAX_VALUES + 1)]},
            {"by": ["age"]},
            r"evaluate\.by=age: the column has 13 different values, at most 12 .*evaluate\.bins=\{age: \[6\]\}",
        ),
        ({"x": [f"v{k}" for k in range(13)]}, {"by": ["x"]}, "13 different values.* Use a column with fewer values"),
    ],
)
def test_subgroup_columns__invalid_input_is_an_error(columns, options, message):
    with pytest.raises(InputError, match=message) as error:
        subgroup_columns(EvaluateParams(**options), columns)
    assert "\n" not in str(error.value)


def test_subgroup_columns__accepts_the_maximum_number_of_values():
    cells = [f"v{k:02}" for k in range(MAX_VALUES)] + [""]
    assert len(single_column({"x": cells}, by=["x"]).order) == MAX_VALUES + 1


def test_subgroup_columns__long_values_are_not_truncated():
    assert single_column({"x": ["a", "a long value"]}, by=["x"]).values.dtype == np.dtype("<U12")
