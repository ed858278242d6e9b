"""Opening of regular files, and errors that name the file."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from medtune.serving.folder_scan import printable
from medtune.serving.pixels import DecodeError


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Convert the errors of reading a file to a DecodeError of one line that names the file.

    Args:
        path: the file or folder.

    Yields:
        Nothing.

    Raises:
        DecodeError: the block raised an error of reading, decompression or memory.
    """
    name = printable(str(path))
    try:
        yield
    except DecodeError as error:
        raise DecodeError(f"{name}: {_one_line(error)}") from None
    except MemoryError:
        raise DecodeError(f"{name}: not enough memory to read the volume") from None
    except EOFError:
        raise DecodeError(f"{name}: the compressed file is truncated") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DecodeError(f"{name}: the compressed file is damaged ({_one_line(error)})") from None
    except OSError as error:
        raise DecodeError(f"{name}: cannot be read: {error.strerror or type(error).__name__}") from None


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or the file to which a symbolic link refers.

    Args:
        path: the file.

    Returns:
        The open file.

    Raises:
        DecodeError: the file does not exist, is empty, or is a folder, pipe or device.
    """
    if not path.is_file():  # a pipe would block
        if path.is_symlink() and not path.exists():
            raise DecodeError("a symbolic link to a file that does not exist")
        raise DecodeError("not a regular file" if path.exists() else "the file does not exist")
    if path.stat().st_size == 0:
        raise DecodeError("the file is empty")
    return path.open("rb")


def _one_line(error: Exception) -> str:
    """Return the message of an error without line breaks and control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in str(error)).split())
