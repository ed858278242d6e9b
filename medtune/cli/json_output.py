"""Output of commands with --json: the result as JSON on stdout, and all other output on stderr."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def progress_on_stderr(as_json: bool) -> Iterator[None]:
    """Redirect the output of the block to stderr if `as_json` is True, so that stdout contains only JSON."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
