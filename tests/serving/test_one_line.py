import pytest

from medtune.serving.one_line import MAX_CHARS, first_line, last_line


@pytest.mark.parametrize(
    ("error", "bare", "typed"),
    [
        (ValueError("first\nsecond"), "first", "ValueError: first"),
        (ValueError("\n  first  \n"), "first", "ValueError: first"),
        (KeyError(), "KeyError", "KeyError"),
        (OSError("x" * 2 * MAX_CHARS), "x" * MAX_CHARS, "OSError: " + "x" * MAX_CHARS),
    ],
)
def test_first_line__is_the_message_or_the_type(error, bare, typed):
    assert first_line(error) == bare
    assert first_line(error, with_type=True) == typed


def test_last_line__of_output():
    assert last_line("Traceback\nValueError: x\n\n", "nothing") == "ValueError: x"
    assert last_line(" \n", "exit code 3") == "exit code 3"
