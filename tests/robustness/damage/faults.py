"""Flipped bits, truncation and deletion of files and links."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st


class Target(NamedTuple):
    """Files of one kind, and the function that reads them after one of them was damaged. See `reading.problem`."""

    files: list[Path]
    read: Callable[[Path], Any]


@st.composite
def damages(draw, files):
    """Return a file, its content after the damage (None if it is deleted), and a description."""
    file = draw(st.sampled_from(files))
    content = _read(file)
    position = draw(st.integers(0, len(content) - 1))
    before, byte, after = content[:position], content[position], content[position + 1 :]
    flipped = before + bytes([byte ^ 1 << draw(st.integers(0, 7))]) + after
    action, damaged = draw(st.sampled_from([("flip", flipped), ("truncate", before), ("delete", None)]))
    return file, damaged, f"{action} {file} at byte {position} of {len(content)}"


@contextmanager
def replaced(file, content):
    """Replace the content of a file, or the destination of a link, until the end of the block."""
    original, is_link = _read(file), file.is_symlink()
    _replace(file, content, is_link)
    try:
        yield
    finally:
        _replace(file, original, is_link)


def _read(file):
    return os.fsencode(file.readlink()) if file.is_symlink() else file.read_bytes()


def _replace(file, content, is_link):
    file.unlink(missing_ok=True)
    if content is not None and not is_link:
        file.write_bytes(content)
    elif content and b"\0" not in content:  # no link can have another destination
        file.symlink_to(os.fsdecode(content))


def files_under(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
