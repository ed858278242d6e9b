"""Unpacks archives that strangers made: nothing lands outside, and nothing but plain files lands at all."""

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from filelock import FileLock

from medtune.config.errors import InputError
from medtune.runtime.artifact import digest
from medtune.runtime.paths import RunPaths
from medtune.runtime.progress import progress

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
MAX_FILES = 1_000_000
# Images are compressed already: an archive that grows twentyfold is not one of images.
MAX_GROWTH = 20
MAX_SMALL = 64 << 20
_CHUNK = 1 << 20
_BLOCK = 512
_OPENERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_DAMAGE_ERRORS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)


def is_archive(path: Path) -> bool:
    """Whether `path` is a file with an archive's name."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def first_member(archive: Path) -> str:
    """Name of the first file in `archive`: that it opens at all. Unpacks nothing.

    Raises:
        InputError: damaged, empty, or what `unpack` refuses at once.
    """
    with _report_damage(archive):
        for name, stream in _members(archive):
            stream.read(1)
            return name
    raise InputError(f"{archive}: there is no file in it")


def unpack_cached(archive: Path) -> Path:
    """Folder with the contents of `archive`, in the project's cache; unpacked once, whole or not at all.

    Raises:
        InputError: damaged, or refused by `unpack`.
    """
    facts = archive.stat()
    name = digest([archive.name, facts.st_size, facts.st_mtime_ns])[:16]
    folder = RunPaths.from_env().cache / "archives" / f"{archive.name.split('.')[0]}-{name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            _unpack_atomically(archive, folder)
    return folder


def _unpack_atomically(archive: Path, folder: Path) -> None:
    tmp_dir = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(tmp_dir, ignore_errors=True)
    tmp_dir.mkdir(parents=True)
    try:
        unpack(archive, tmp_dir)
    except BaseException:
        shutil.rmtree(tmp_dir, ignore_errors=True)
        raise
    tmp_dir.rename(folder)


def unpack(archive: Path, folder: Path) -> None:
    """Writes the files of a tar or zip archive under `folder`, which exists and is empty.

    Raises:
        InputError: not an archive, damaged, or a member that is absolute, climbs with .., is a link, a device or
            another special file, stands twice, or makes the contents larger than an archive of images can be.
    """
    limit, written, count = _size_limit(archive), 0, 0
    with progress(f"unpack {archive.name}", archive.stat().st_size / 1e6, "MB") as advance, _report_damage(archive):
        for name, stream in _members(archive):
            count += 1
            if count > MAX_FILES:
                raise InputError(f"{archive}: more than {MAX_FILES:,} files; refused")
            with _create_file(archive, folder, name) as out:
                while chunk := stream.read(_CHUNK):
                    written += len(chunk)
                    if written > limit:
                        raise InputError(f"{archive}: unpacks to over {limit:,} bytes; refused as a bomb")
                    out.write(chunk)
                    advance(len(chunk) / 1e6)


def _size_limit(archive: Path) -> int:
    return max(MAX_SMALL, MAX_GROWTH * archive.stat().st_size)


def _create_file(archive: Path, folder: Path, name: str) -> IO[bytes]:
    target = folder.joinpath(*_safe_parts(archive, name))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise InputError(f"{archive}: member {name!r} stands there twice; refused") from None
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise
        raise InputError(f"{archive}: member {name[:80]!r}...: {error.strerror}; refused") from None


@contextmanager
def _report_damage(archive: Path) -> Iterator[None]:
    """Makes what a damaged archive raises one line that names it."""
    try:
        yield
    except _DAMAGE_ERRORS as error:
        raise InputError(f"{archive}: damaged or not an archive: {error}") from error
    except OSError as error:
        if error.errno is None:  # gzip's own errors carry no number; a full disk does
            raise InputError(f"{archive}: damaged or not an archive: {error}") from error
        raise


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive) and not archive.name.lower().endswith((".gz", ".tgz", ".tar")):
        with zipfile.ZipFile(archive) as bundle:
            for entry in bundle.infolist():
                _safe_parts(archive, entry.filename)
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise InputError(f"{archive}: member {entry.filename!r} is a link or special file; refused")
                if not entry.is_dir():
                    with bundle.open(entry) as content:
                        yield entry.filename, content
        return
    yield from _tar_members(archive)


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with archive.open("rb") as raw:
        start = raw.read(6)
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    with opener(archive) if opener else archive.open("rb") as content:
        stream = _Stream(content)
        with tarfile.open(fileobj=stream, mode="r:") as bundle:  # type: ignore[call-overload]
            for member in bundle:
                _safe_parts(archive, member.name)
                if not (member.isreg() or member.isdir()) or member.issparse():
                    raise InputError(f"{archive}: member {member.name!r} is a link or special file; refused")
                if member.isreg() and (file := bundle.extractfile(member)) is not None:
                    yield member.name, file
            # A header that it cannot read is the end to tarfile, as is the end of the file: what is behind is lost.
            if stream.last != bytes(_BLOCK):
                raise tarfile.ReadError("it ends amid its members")
            # The compressor's checksum stands behind the last byte, which tarfile has no reason to read.
            rest = 0
            while chunk := stream.read(_CHUNK):
                rest += len(chunk)
                if rest > _size_limit(archive):
                    raise InputError(f"{archive}: over {rest:,} bytes behind its end; refused as a bomb")


class _Stream:
    """What tarfile reads from; remembers what it read last, and refuses a name or header of many megabytes."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.last = b""
        self.seek, self.tell, self.close = content.seek, content.tell, content.close

    def read(self, size: int) -> bytes:
        if size > _CHUNK:
            raise tarfile.ReadError(f"a member's name or header is said to have {size:,} bytes")
        self.last = self._content.read(size)
        return self.last


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    path = PurePosixPath(name.replace("\\", "/"))
    parts = tuple(part for part in path.parts if part != ".")
    if path.is_absolute() or ".." in parts or any(":" in part or "\0" in part for part in parts):
        raise InputError(f"{archive}: member {name!r} would land outside the folder; refused")
    return parts
