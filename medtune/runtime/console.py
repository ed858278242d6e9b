"""Progress lines on stdout."""

import os


def info(message: str) -> None:
    """Print one line of progress and flush it. In distributed training only the main process prints."""
    if os.environ.get("RANK", "0") == "0":
        print(message, flush=True)
