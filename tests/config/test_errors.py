import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.config.errors import fill_in, leave_out, pluralize, set_option
from medtune.config.load import apply_override

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)


@given(TEXT | st.lists(TEXT, max_size=2) | st.dictionaries(TEXT, TEXT, max_size=2))
def test_set_option__round_trip(value):
    option, assignment = shlex.split(set_option("data.key", value))
    tree = {}
    apply_override(tree, assignment)
    assert option == "--set"
    assert tree["data"]["key"] == value


@pytest.mark.parametrize(
    "value", ["null", "true", "7", "2026-03-01", "1e5", "y", "", "a: b", "=x", "Mu\u0308ller", "\u200b"]
)
def test_set_option__text_remains_text(value):
    _, assignment = shlex.split(set_option("data.key", value))
    tree = {}
    apply_override(tree, assignment)
    assert tree["data"]["key"] == value


def test_fill_in__agrees_with_the_number():
    assert fill_in(1) == "Fill it in, or remove this row"
    assert fill_in(2, "image") == "Fill them in, or remove these images"


def test_leave_out__agrees_with_the_number():
    assert leave_out(1).startswith("Correct or remove it, or leave it out with --set data.on_bad_image=reject")
    assert leave_out(2).startswith("Correct or remove them, or leave them out with")


def test_pluralize__agrees_with_the_number():
    assert pluralize(1, "seed") == "1 seed"
    assert pluralize(2_000, "image") == "2,000 images"


def test_set_option__plain_words_are_not_quoted():
    assert set_option("data.columns.path", "file_name") == "--set data.columns.path=file_name"
    assert set_option("data.label_map", {"M\u00fc": "b"}) == '--set \'data.label_map={"M\u00fc": "b"}\''
    assert set_option("data.x", "Mu\u0308") == "--set 'data.x=\"Mu\\u0308\"'"
