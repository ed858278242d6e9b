"""Safe unpacking of untrusted archives: only regular files, and only inside the target folder."""

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
# An archive may unpack to `MAX_GROWTH` times its size, or to `MAX_SMALL` bytes if this is more. Images are already
# compressed, so an archive of images stays far below this limit.
MAX_GROWTH = 20
MAX_SMALL = 64 << 20
# Bytes that are read at once.
_CHUNK = 1 << 20
_UNPACK_YOURSELF = "If you trust it, unpack it and set data.root to the folder"
_REPLACE = "Download it again, or use another archive"
# Size of a tar block in bytes.
_BLOCK = 512
_OPENERS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_DAMAGE_ERRORS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)


def is_archive(path: Path) -> bool:
    """Return True for a file whose name has the suffix of an archive."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def first_member(archive: Path) -> str:
    """Check that an archive can be opened, without unpacking it.

    Args:
        archive: the archive.

    Returns:
        Name of the first file in the archive.

    Raises:
        InputError: the archive is damaged or contains no files, or `unpack` would reject its first members.
    """
    with _report_damage(archive):
        for name, stream in _members(archive):
            stream.read(1)
            return name
    raise InputError(f"{archive}: contains no files. Use another archive")


def unpack_cached(archive: Path) -> Path:
    """Unpack an archive to the cache of the project, once and atomically.

    Args:
        archive: the archive.

    Returns:
        Folder with the contents.

    Raises:
        InputError: the archive is damaged, or `unpack` rejects it.
    """
    status = archive.stat()
    name = digest([archive.name, status.st_size, status.st_mtime_ns])[:16]
    folder = RunPaths.from_env().cache / "archives" / f"{archive.name.split('.')[0]}-{name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            _unpack_atomically(archive, folder)
    return folder


def _unpack_atomically(archive: Path, folder: Path) -> None:
    """Unpack to a temporary folder, which gets its name only when it is complete."""
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
    """Unpack a tar or zip archive to an existing, empty folder.

    Args:
        archive: the archive.
        folder: the folder.

    Raises:
        InputError: the file is damaged or not an archive, the contents are too many or too large, or a member is not
            allowed. Duplicates, paths outside of the folder, links and special files are not allowed.
    """
    limit, written, count = _size_limit(archive), 0, 0
    with progress(f"unpack {archive.name}", archive.stat().st_size / 1e6, "MB") as advance, _report_damage(archive):
        for name, stream in _members(archive):
            count += 1
            if count > MAX_FILES:
                raise InputError(
                    f"{archive}: more than {MAX_FILES:,} files. Unpack it, and set data.root to the folder"
                )
            with _create_file(archive, folder, name) as out:
                while chunk := stream.read(_CHUNK):
                    written += len(chunk)
                    if written > limit:
                        raise InputError(
                            f"{archive}: unpacks to over {limit:,} bytes, like an archive bomb. {_UNPACK_YOURSELF}"
                        )
                    out.write(chunk)
                    advance(len(chunk) / 1e6)


def _size_limit(archive: Path) -> int:
    """Return the number of bytes to which the archive may unpack."""
    return max(MAX_SMALL, MAX_GROWTH * archive.stat().st_size)


def _create_file(archive: Path, folder: Path, name: str) -> IO[bytes]:
    """Create and open the file of a member. Raise InputError if it exists or its name is not allowed."""
    target = folder.joinpath(*_safe_parts(archive, name))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise InputError(f"{archive}: duplicate member {name!r}. Remove one of them") from None
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise
        raise InputError(
            f"{archive}: member {name[:80]!r}... has a name that this file system does not allow. Rename it"
        ) from None


@contextmanager
def _report_damage(archive: Path) -> Iterator[None]:
    """Convert the exceptions of a damaged archive to an InputError."""
    try:
        yield
    except _DAMAGE_ERRORS as error:
        raise InputError(f"{archive}: damaged or not an archive: {error}. {_REPLACE}") from error
    except OSError as error:
        if error.errno is None:  # an error of gzip, unlike the error of a full disk
            raise InputError(f"{archive}: damaged or not an archive: {error}. {_REPLACE}") from error
        raise


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and the content of each file in the archive. Raise InputError for a member that is not allowed."""
    if zipfile.is_zipfile(archive) and not archive.name.lower().endswith((".gz", ".tgz", ".tar")):
        with zipfile.ZipFile(archive) as bundle:
            for entry in bundle.infolist():
                _safe_parts(archive, entry.filename)
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise InputError(f"{archive}: member {entry.filename!r} is a link or special file. Remove it")
                if not entry.is_dir():
                    with bundle.open(entry) as content:
                        yield entry.filename, content
        return
    yield from _tar_members(archive)


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield what `_members` yields, for a tar archive. Also check that the archive is complete."""
    with archive.open("rb") as raw:
        start = raw.read(6)
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    with opener(archive) if opener else archive.open("rb") as content:
        stream = _Stream(content)
        with tarfile.open(fileobj=stream, mode="r:") as bundle:  # type: ignore[call-overload]
            for member in bundle:
                _safe_parts(archive, member.name)
                if not (member.isreg() or member.isdir()) or member.issparse():
                    raise InputError(f"{archive}: member {member.name!r} is a link or special file. Remove it")
                if member.isreg() and (file := bundle.extractfile(member)) is not None:
                    yield member.name, file
            # tarfile treats an unreadable header as the end of the archive, but a complete archive ends with zeros.
            if stream.last != bytes(_BLOCK):
                raise tarfile.ReadError("it is truncated")
            # Read to the end, because the compressor's checksum is after the last byte that tarfile reads.
            rest = 0
            while chunk := stream.read(_CHUNK):
                rest += len(chunk)
                if rest > _size_limit(archive):
                    raise InputError(f"{archive}: over {rest:,} bytes after its end, like an archive bomb. {_REPLACE}")


class _Stream:
    """Stream that tarfile reads. It keeps the last block, and rejects a name or header of more than 1 MiB."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.last = b""
        self.seek, self.tell, self.close = content.seek, content.tell, content.close

    def read(self, size: int) -> bytes:
        if size > _CHUNK:
            raise tarfile.ReadError(f"the name or header of a member has {size:,} bytes")
        self.last = self._content.read(size)
        return self.last


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    """Return the parts of a member's path. Raise InputError if the path could be outside of the folder."""
    if not name:
        raise InputError(f"{archive}: a member has no name. Remove it")
    path = PurePosixPath(name.replace("\\", "/"))
    parts = tuple(part for part in path.parts if part != ".")
    if path.is_absolute() or ".." in parts or any(":" in part or "\0" in part for part in parts):
        raise InputError(f"{archive}: member {name!r} would be written outside of the folder. Remove it")
    return parts
