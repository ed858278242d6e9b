import pytest

from medtune.tasks.classification.report import figure, rule


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0.12345, "0.123"), (1, "1.000")])
def test_figure__three_decimals(value, shown):
    assert figure(value) == shown


def test_rule__in_words():
    assert rule({"kind": "argmax"}) == "most probable"
    assert rule({"kind": "threshold", "positive": "malignant", "threshold": 0.4}) == "malignant from 0.400"
