import pytest
from pydantic import ValidationError

from medtune.config.training import FrozenParams
from medtune.data.sources.folder import Params

COLUMNS = {"labels": [1, 2], "patient": 3}


def test_names__numbers_are_text():
    result = Params(csv="t.csv", label_type="multi", columns=COLUMNS, label_map={0: 1, 2.5: "b"}, allow_values=[0])
    assert (result.columns.labels, result.columns.patient) == (["1", "2"], "3")
    assert (result.label_map, result.allow_values) == ({"0": "1", "2.5": "b"}, ["0"])
    assert Params(class_names=[0, 1], positive=1).class_names == ["0", "1"]
    assert FrozenParams(class_weights={0: 2, 1: 1}).class_weights == {"0": 2, "1": 1}


@pytest.mark.parametrize("values", [{"positive": True}, {"class_names": [True, False]}, {"label_map": {"a": True}}])
def test_names__reject_unquoted_booleans(values):
    with pytest.raises(ValidationError, match="put it in quotes"):
        Params(**values)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_names__reject_nan_and_infinity(value):
    with pytest.raises(ValidationError, match="string_type"):
        Params(positive=value)
