import pytest

from medtune.tasks.classification.report import describe_rule, format_value


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (0.12345, "0.123"), (1, "1.000")])
def test_format_value__three_decimals(value, shown):
    assert format_value(value) == shown


def test_describe_rule__in_words():
    assert describe_rule({"kind": "argmax"}) == "most probable class"
    assert (
        describe_rule({"kind": "threshold", "positive": "malignant", "threshold": 0.4})
        == "malignant if its probability is at least 0.400"
    )
