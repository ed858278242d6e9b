"""Signatures of files, computed without reading the files. A signature changes if its file is written or replaced."""

from pathlib import Path

State = tuple[int, int, int, int]


def file_state(path: Path) -> State:
    """Return inode, size in bytes, modification time and change time in ns of a file."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def folder_state(folder: Path) -> tuple[State, ...]:
    """Return the state of every file under `folder`, sorted by path. Empty if the folder does not exist."""
    return tuple(file_state(path) for path in sorted(folder.rglob("*")) if path.is_file())
