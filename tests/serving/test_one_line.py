import pytest

from medtune.serving.one_line import MAX_CHARS, first_line, last_line


@pytest.mark.parametrize(
    ("error", "message", "message_with_type"),
    [
        (ValueError("first\nsecond"), "first", "ValueError: first"),
        (ValueError("\n  first  \n"), "first", "ValueError: first"),
        (KeyError(), "KeyError", "KeyError"),
        (OSError("x" * 2 * MAX_CHARS), "x" * MAX_CHARS, "OSError: " + "x" * MAX_CHARS),
    ],
)
def test_first_line__is_the_message_or_the_type(error, message, message_with_type):
    assert first_line(error) == message
    assert first_line(error, with_type=True) == message_with_type


def test_last_line__is_the_last_line_or_the_default():
    assert last_line("Traceback\nValueError: x\n\n", "nothing") == "ValueError: x"
    assert last_line(" \n", "exit code 3") == "exit code 3"
