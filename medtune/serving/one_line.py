"""Shortening of error messages and of program output to one line."""

MAX_CHARS = 300


def first_line(error: BaseException, with_type: bool = False) -> str:
    """Return the first line of an error's message.

    Args:
        error: error whose message may be empty or have many lines.
        with_type: begin with the name of the type of the error.

    Returns:
        At most 300 characters of the first line, or the name of the type if the message is empty.
    """
    lines, name = str(error).strip().splitlines(), type(error).__name__
    if not lines:
        return name
    return f"{name}: {lines[0][:MAX_CHARS]}" if with_type else lines[0][:MAX_CHARS]


def last_line(output: str, otherwise: str) -> str:
    """Return at most 300 characters of the output's last line, or `otherwise` if the output is empty."""
    lines = output.strip().splitlines()
    return lines[-1][:MAX_CHARS] if lines else otherwise
