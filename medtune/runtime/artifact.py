"""Folders that are whole or absent: written beside their place, fsynced, renamed, and verified by sha256.

`result.json` is written last inside the folder, names every other file with its sha256, and carries its own: a
folder that has one is done, and `verify` tells whether it is still what was written.
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
    """A finished folder: small enough to hand between tasks.

    Attributes:
        path: the folder, absolute.
        key: cache key of the run that wrote it.
        sha256: digest over every file's name and content digest.
    """

    path: str
    key: str
    sha256: str

    @property
    def folder(self) -> Path:
        """`path` as a Path."""
        return Path(self.path)

    def result(self) -> dict[str, Any]:
        """What its result.json says.

        Raises:
            RuntimeError: it was changed since it was written, or is gone.
        """
        try:
            return read_result(self.folder)
        except (OSError, ValueError) as error:
            raise RuntimeError(f"{self.path}: {RESULT_FILE} is damaged: {error}") from None

    def as_dict(self) -> dict[str, str]:
        """Plain strings, for JSON."""
        return asdict(self)


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """`value` as JSON with one spelling: sorted keys, no spaces. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of `value`, hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def partial_dir(folder: Path) -> Path:
    """Where the work of `folder` lies while it is unfinished; survives a crash so that it can resume."""
    return folder.with_name(f".{folder.name}.partial")


def checkpoint_dir(folder: Path) -> Path:
    """Where the checkpoints of an unfinished training run of `folder` lie."""
    return folder.with_name(f".{folder.name}.training")


def _backup_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def recover_interrupted_publish(folder: Path) -> None:
    """Puts back, or clears away, what a crash between the two renames of `commit` left."""
    old = _backup_path(folder)
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)


def commit(folder: Path, key: str, result: dict[str, Any]) -> Artifact:
    """Makes `partial_dir(folder)` the finished `folder`, replacing an earlier one whole.

    Args:
        folder: the finished folder's place.
        key: cache key, written into result.json.
        result: what else result.json says (params, versions, figures). JSON values.
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
    """What the result.json of `folder` says; the files that it names are not looked at.

    Raises:
        OSError: there is none.
        ValueError: it was changed since it was written.
    """
    try:
        return load_with_checksum((folder / RESULT_FILE).read_bytes().decode())
    except UnicodeDecodeError:
        raise ChecksumError("it is not UTF-8") from None


def find_artifact(folder: Path, key: str | None = None) -> Artifact | None:
    """The finished artifact at `folder`, or None where it is absent, damaged, or of another key."""
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
    """True where every file that result.json names is there with its sha256, and none changed since."""
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
    """Writes `text` atomically: readers see the old file or the new one, never a part."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; on leaving without an error it is fsynced and renamed onto `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if not _is_running(leftover.name.split(".")[-2]):  # left by a process that was killed while writing
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
    except PermissionError:
        pass
    return True


def fsync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
