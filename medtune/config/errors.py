"""User-facing errors, formatted as a single line."""

import difflib
import json
import math
import re
import shlex
import unicodedata


class InputError(Exception):
    """Mistake in the user's input, as one line.

    The message has the form `key=value: problem. Fix.` The command line prints it to stderr and exits with code 2.
    """


class RunError(RuntimeError):
    """Failure of a run with valid params; the message is one line that names the step and the fix.

    The command line prints it to stderr and exits with code 1.
    """


class DivergedError(RunError):
    """Training run whose loss is not finite."""


def suggestion(name: object, known: list[str]) -> str:
    """Return ` (did you mean 'x'?)` if a name in `known` is similar to `name`, else an empty string."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def show_value(value: object) -> str:
    """Return a value as a user types it after `key=` in `--set`.

    Args:
        value: a string, number, boolean, None, or a list or mapping of them.

    Returns:
        Text that YAML reads as `value`. Characters that a reader could mistake for others are escaped.
    """
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _YAML_WORDS:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if unicodedata.normalize("NFC", shown) != shown or not shown.isprintable():
        shown = "".join(c if c.isascii() else _escape(c) for c in shown)  # different texts may look the same
    return shown


def fill_in(count: int, item: str = "row") -> str:
    """Return the fix for values that are absent: `Fill it in, or remove this row`.

    Args:
        count: number of rows or other items without a value.
        item: noun in the singular.

    Returns:
        A sentence without a full stop.
    """
    return f"Fill it in, or remove this {item}" if count == 1 else f"Fill them in, or remove these {item}s"


def pluralize(count: int, noun: str) -> str:
    """Return a count with a noun, such as `1 seed` or `2 seeds`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def leave_out(count: int) -> str:
    """Return the fix for images that cannot be used: `Correct or remove it, or leave it out with ...`."""
    them = "it" if count == 1 else "them"
    return f"Correct or remove {them}, or leave {them} out with --set data.on_bad_image=reject"


def set_option(key: str, value: object) -> str:
    """Return the option `--set key=value` as a user types it in a shell.

    Args:
        key: dotted params key.
        value: None, a string, or lists and mappings of strings.

    Returns:
        The option with shell quotes where they are needed.
    """
    return f"--set {shlex.quote(f'{key}={show_value(value)}')}"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# Text that YAML reads as a string without quotes.
_PLAIN = re.compile(r"[A-Za-z_./](?:[\w./-]|:(?=[\w./-]))*")
# Words that YAML does not read as text.
_YAML_WORDS = ("null", "true", "false", "~", ".nan", ".inf")
