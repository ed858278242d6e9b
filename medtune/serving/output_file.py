"""Output of results to stdout or to a file. The file appears only after it is complete."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from medtune.serving.manifest import BundleError

MAX_NAME_BYTES = 255  # longest name of a file in common file systems
_NAME_CHARS = 40  # number of characters of a long name that its temporary file has


@contextmanager
def replace_file(path: Path, suffix: str = "") -> Iterator[Path]:
    """Write a file that appears only after everything is written.

    Args:
        path: the file. An existing file is replaced.
        suffix: suffix of the temporary file. Some libraries choose the format by the suffix.

    Yields:
        Temporary path in the same folder.

    Raises:
        BundleError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{suffix}")
    if len(os.fsencode(temporary.name)) > MAX_NAME_BYTES:
        temporary = path.with_name(f".{path.name[:_NAME_CHARS]}.{os.getpid()}.tmp{suffix}")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise BundleError(f"{path}: {_problem(path, error)}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _problem(path: Path, error: OSError) -> str:
    """Return why a file cannot be written, and how to fix this."""
    folder = path.parent
    if not folder.exists():
        return f"the folder {folder} does not exist. Create it, or use another folder"
    return f"cannot be written ({error.strerror}). Use another path"


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Open stdout, or a file that appears only after everything is written.

    After an error, FILE.partial contains the rows that were written. Characters that cannot be encoded are escaped.

    Args:
        path: the file, or None for stdout.

    Yields:
        The stream to write to.

    Raises:
        BundleError: the file cannot be written.
    """
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    if path.is_dir():
        raise BundleError(f"--out={path}: this is a folder. Use the name of a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        stream = temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BundleError(f"--out={path}: {_problem(path, error)}") from None
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
            print(f"interrupted: {partial} contains the predictions so far", file=sys.stderr, flush=True)
        raise
    finally:
        temporary.unlink(missing_ok=True)
