"""Atomic artifact directories with checksums.

An artifact is written to a temporary folder, fsynced and renamed. Its `result.json` is written last. This file
contains its own checksum and the SHA-256 of every other file. A folder with a result.json is complete, and `verify`
checks that it is unchanged.
"""

import contextlib
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medtune.serving.checksum import ChecksumError, dump_with_checksum, load_with_checksum

RESULT_FILE = "result.json"


@dataclass(frozen=True)
class Artifact:
    """Reference to a finished artifact folder.

    Attributes:
        path: absolute path of the folder.
        key: cache key of the run that wrote the folder.
        sha256: digest of the names and SHA-256 of all files.
    """

    path: str
    key: str
    sha256: str

    @property
    def folder(self) -> Path:
        """`path` as a Path."""
        return Path(self.path)

    def result(self) -> dict[str, Any]:
        """Read result.json.

        Returns:
            Content of the file: cache key, SHA-256 of the files, and the result.

        Raises:
            RuntimeError: result.json is missing or was changed after it was written.
        """
        try:
            return read_result(self.folder)
        except (OSError, ValueError) as error:
            raise RuntimeError(
                f"{self.path}: {RESULT_FILE} is damaged: {error}. Delete the folder and run again"
            ) from None

    def as_dict(self) -> dict[str, str]:
        """Return the attributes as strings for JSON."""
        return asdict(self)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as a hexadecimal string."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value` as a hexadecimal string."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def partial_dir(folder: Path) -> Path:
    """Return the folder for unfinished work on `folder`. A crash does not delete it, so that a run can resume."""
    return folder.with_name(f".{folder.name}.partial")


def checkpoint_dir(folder: Path) -> Path:
    """Return the folder for the checkpoints of an unfinished training run of `folder`."""
    return folder.with_name(f".{folder.name}.training")


def _backup_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def recover_interrupted_publish(folder: Path) -> None:
    """Recover from a crash between the two renames in `commit`."""
    old = _backup_path(folder)
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)


def commit(folder: Path, key: str, result: dict[str, Any]) -> Artifact:
    """Publish `partial_dir(folder)` as `folder`, replacing an earlier artifact.

    The earlier artifact is renamed first, then the new one. `recover_interrupted_publish` repairs a crash between the
    two renames.

    Args:
        folder: path of the finished artifact.
        key: cache key, written to result.json.
        result: further content of result.json as JSON values, for example params, versions and metrics.

    Returns:
        The finished artifact.
    """
    tmp_dir = partial_dir(folder)
    files = {}
    for path in sorted(p for p in tmp_dir.rglob("*") if p.is_file() and p.name != RESULT_FILE):
        files[path.relative_to(tmp_dir).as_posix()] = file_sha256(path)
        fsync(path)
    write_text(tmp_dir / RESULT_FILE, dump_with_checksum({"key": key, "files": files, **result}))
    recover_interrupted_publish(folder)
    if folder.exists():
        folder.rename(_backup_path(folder))
    tmp_dir.rename(folder)
    fsync(folder.parent)
    recover_interrupted_publish(folder)
    return Artifact(str(folder), key, digest(files))


def read_result(folder: Path) -> dict[str, Any]:
    """Read the result.json of an artifact folder without verifying the other files.

    Args:
        folder: artifact folder.

    Returns:
        Content of result.json.

    Raises:
        OSError: result.json does not exist.
        ChecksumError: result.json was changed after it was written (a ValueError).
    """
    try:
        return load_with_checksum((folder / RESULT_FILE).read_bytes().decode())
    except UnicodeDecodeError:
        raise ChecksumError("not a UTF-8 text file") from None


def find_artifact(folder: Path, key: str | None = None) -> Artifact | None:
    """Return the finished artifact at `folder`, or None if it is missing, damaged, or has another key."""
    recover_interrupted_publish(folder)
    try:
        result = read_result(folder)
        if key is not None and result["key"] != key:
            return None
        artifact = Artifact(str(folder), result["key"], digest(result["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return artifact if verify(artifact) else None


def verify(artifact: Artifact) -> bool:
    """Return True if result.json and every file that it lists are unchanged."""
    try:
        result = read_result(artifact.folder)
        files = result["files"]
        return (
            result["key"] == artifact.key
            and digest(files) == artifact.sha256
            and all(file_sha256(artifact.folder / name) == sha256 for name, sha256 in files.items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically. Readers see the old file or the new file, never a part."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file atomically.

    Args:
        path: file to create or replace.

    Yields:
        Temporary path in the same folder. If the block succeeds, the file is fsynced and renamed to `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if not _is_running(leftover.name.split(".")[-2]):  # its writer was killed
            leftover.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(path)
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # the process of another user
        pass
    return True


def fsync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are written to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
