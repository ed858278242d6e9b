import pytest

from medtune.config.errors import InputError
from medtune.config.load import load


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["evaluate.by=[sex, sex]"], r"evaluate\.by=.*Name each column once"),
        (["evaluate.by=sex"], r"evaluate\.by=sex: expected a list"),
        (["evaluate.bins={age: [40]}"], r"evaluate\.bins\.age=\[40\.0\]: evaluate\.by does not name this column"),
        (["evaluate.by=[age]", "evaluate.bins={age: [60, 40]}"], "in ascending order"),
        (["evaluate.by=[age]", "evaluate.bins={age: []}"], "at least one finite limit"),
    ],
)
def test_evaluate__rejects_invalid_subgroups(assignments, message):
    with pytest.raises(InputError, match=message):
        load(sets=assignments)


def test_evaluate__by_and_bins():
    options = load(sets=["evaluate.by=[sex, age]", "evaluate.bins={age: [40, 60]}"]).evaluate
    assert (options.by, options.bins) == (["sex", "age"], {"age": [40.0, 60.0]})
    assert load().evaluate.by == []
