"""Progress lines on stdout."""

import os


def info(message: str) -> None:
    """One plain line of progress, flushed, on stdout; silent on all but the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(message, flush=True)
