"""Errors and program output, shortened to one line."""

MAX_CHARS = 300


def first_line(error: BaseException, with_type: bool = False) -> str:
    """First line of an error's message.

    Args:
        error: whose message may be empty or have many lines.
        with_type: put the name of the error's type before it.

    Returns:
        At most 300 characters of the message; the name of the type where the message is empty.
    """
    lines, name = str(error).strip().splitlines(), type(error).__name__
    if not lines:
        return name
    return f"{name}: {lines[0][:MAX_CHARS]}" if with_type else lines[0][:MAX_CHARS]


def last_line(output: str, otherwise: str) -> str:
    """Last line of what a program printed, at most 300 characters; `otherwise` where it printed nothing."""
    lines = output.strip().splitlines()
    return lines[-1][:MAX_CHARS] if lines else otherwise
