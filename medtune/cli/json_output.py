"""Machine-readable results: JSON on stdout, everything else that is printed on stderr."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def progress_on_stderr(as_json: bool) -> Iterator[None]:
    """Send what the block prints to stderr if `as_json` is true, so that stdout has only the result."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
