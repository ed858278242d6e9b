"""Messages about invalid keys of bundle.json."""

import json

MAX_CHARS = 120


class FieldError(ValueError):
    """Invalid value of a key. Its text is the result of `wrong_field`.

    Args:
        key: dotted key in the section that is parsed.
        value: value of the key; None if the key is missing or null.
        expected: description of a valid value.
    """

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(wrong_field(key, value, expected))
        self.key, self.value, self.expected = key, value, expected

    def within(self, section: str) -> "FieldError":
        """Return the same error, with the key of the section added before its key."""
        return FieldError(f"{section}.{self.key}", self.value, self.expected)


def wrong_field(key: str, value: object, expected: str) -> str:
    """Describe an invalid value: `key "overlap" is 1.0: expected a number from 0 to 0.9`.

    Args:
        key: complete dotted key.
        value: value of the key; None if the key is missing or null.
        expected: description of a valid value.

    Returns:
        The problem, without a fix.
    """
    shown = "missing or null" if value is None else show_json(value)
    return f'key "{key}" is {shown}: expected {expected}'


def show_json(value: object) -> str:
    """Return a value as JSON text, shortened to 120 characters."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if not shown.isprintable():
        shown = json.dumps(value, default=str)
    return shown if len(shown) <= MAX_CHARS else f"{shown[:MAX_CHARS]}..."


def one_of(values: "tuple[str, ...] | list[str]") -> str:
    """Return the quoted values with `or` before the last: `"squash", "pad" or "crop"`."""
    *first, last = map(show_json, values)
    return f"{', '.join(first)} or {last}" if first else last
