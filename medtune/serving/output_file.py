"""Where results are written: stdout, or a file that appears whole."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from medtune.serving.manifest import BundleError


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """stdout, or a file that appears whole at the end; if an error ends it, FILE.partial keeps what was written.

    Characters that stdout cannot encode are written as escapes.

    Raises:
        BundleError: the file cannot be written there.
    """
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    if path.is_dir():
        raise BundleError(f"--out {path} is a folder; name a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        stream = temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BundleError(f"--out {path} cannot be written: {error.strerror}") from None
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        if temporary.stat().st_size:
            partial = path.with_name(f"{path.name}.partial")
            temporary.replace(partial)
            print(f"not finished: what was predicted is in {partial}", file=sys.stderr, flush=True)
        raise
    finally:
        temporary.unlink(missing_ok=True)
