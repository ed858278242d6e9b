"""Safe unpacking of an uploaded ZIP archive with one DICOM series.

A member is a file in the archive. The declared sizes of all members are checked before anything is unpacked. zipfile
stops reading a member at its declared size. Members may only use deflate, because zipfile limits its output per call.
"""

import errno
import os
import shutil
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Sequence
from io import BufferedReader, FileIO
from pathlib import Path, PurePosixPath

from medtune.serving.dicom import is_dicom
from medtune.serving.folder_scan import printable
from medtune.serving.pixels import DecodeError
from medtune.serving.request_errors import RequestError, TooLargeError

# Twice the size of a series of 16 bits with the largest accepted number of voxels.
MAX_UNPACKED_BYTES = 1 << 30
MAX_MEMBERS = 10_000
_MAX_DEPTH = 16  # parts of a member's path
_MAX_DIRECTORY_BYTES = 4 << 20  # list of members, which zipfile reads at once
_CHUNK = 1 << 20
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags of a member: encrypted, strongly encrypted, hidden list of members
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Start of ZIP, gzip, bzip2, xz, 7z and RAR files. Such a member is refused, because it may contain slices.
_ARCHIVES = (b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")
_START_BYTES = 132  # up to the signature of a DICOM file, before which any bytes are allowed
# Errors of zipfile for a damaged archive. A RuntimeError may be a NotImplementedError.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, EOFError, LookupError, RuntimeError, ValueError
)  # fmt: skip


def is_zip(start: bytes) -> bool:
    """Return True if a file begins like a ZIP archive. The first four bytes are sufficient."""
    return start[:4] in _ARCHIVES[:2]


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder.

    Args:
        archive: the archive.
        folder: an existing, empty folder.

    Raises:
        DecodeError: the archive is damaged, encrypted or empty, or has a forbidden member. Forbidden are archives,
            links, equal names, and paths outside of the folder.
        OSError: a file cannot be written.
        TooLargeError: the unpacked files have more than `MAX_UNPACKED_BYTES` bytes, or there are more than
            `MAX_MEMBERS`.
    """
    with _Reader(FileIO(archive)) as stream:
        try:
            with zipfile.ZipFile(stream) as opened:
                members = [member for member in opened.infolist() if not member.is_dir()]
                targets = _check(members)
                for member, parts in zip(members, targets, strict=True):
                    _write(opened, member, folder, parts)
        except _DAMAGE as error:
            if isinstance(error, RequestError):
                raise
            raise DecodeError(f"the ZIP archive is damaged or not supported: {_one_line(error)}") from None


class _Reader(BufferedReader):
    """Stream for zipfile that refuses invalid offsets and long lists of members. A long list would need gigabytes."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET and not 0 <= offset <= sys.maxsize:
            raise zipfile.BadZipFile(f"a member begins at byte {offset}")
        return super().seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"the list of its members has {size:,} bytes")
        return super().read(size)


def _check(members: Sequence[zipfile.ZipInfo]) -> list[tuple[str, ...]]:
    """Check all members and return the parts of their paths."""
    if not members:
        raise DecodeError("the ZIP archive has no files")
    if len(members) > MAX_MEMBERS:
        raise TooLargeError(f"the ZIP archive has {len(members):,} files; at most {MAX_MEMBERS:,} are accepted")
    if (size := sum(member.file_size for member in members)) > MAX_UNPACKED_BYTES:
        raise TooLargeError(f"the ZIP archive unpacks to {size:,} bytes; at most {MAX_UNPACKED_BYTES:,} are accepted")
    targets, names = [], set()
    for member in members:
        name = printable(member.filename)
        if member.flag_bits & _ENCRYPTED:
            raise DecodeError(f"the ZIP archive is encrypted ({name}). Send it without a password")
        if member.compress_type not in _METHODS:
            raise DecodeError(f"{name} in the ZIP archive is not compressed with deflate. Compress it again")
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise DecodeError(f"{name} in the ZIP archive is a link or special file. Remove it")
        targets.append(parts := _safe_parts(member.filename))
        if (key := "/".join(parts).casefold()) in names:
            raise DecodeError(f"the ZIP archive has two files of the name {name}. Remove one of them")
        names.add(key)
    return targets


def _safe_parts(name: str) -> tuple[str, ...]:
    """Return the parts of a path. Raise DecodeError if the path leaves the folder or is too deep."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = tuple(part for part in path.parts if part != ".")
    if path.is_absolute() or ".." in parts or any(":" in part or "\0" in part for part in parts) or not parts:
        raise DecodeError(f"{printable(name)} in the ZIP archive would be written outside of its folder. Remove it")
    if len(parts) > _MAX_DEPTH:
        raise DecodeError(f"{printable(name)[:80]}... is in more than {_MAX_DEPTH - 1} folders. Move it")
    return parts


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, parts: tuple[str, ...]) -> None:
    """Unpack one member. Raise DecodeError if the member is an archive, or if its name is taken or invalid."""
    target = folder.joinpath(*parts)
    with opened.open(member) as stream:
        start = stream.read(_START_BYTES)
        if start.startswith(_ARCHIVES) and not is_dicom(start):
            raise DecodeError(
                f"{'/'.join(parts)} in the ZIP archive is compressed or an archive. Send the DICOM files of one series "
                "in one archive, or a NIfTI file without one"
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            out = target.open("xb")
        except (FileExistsError, NotADirectoryError):
            raise DecodeError(f"the ZIP archive has two files of the name {'/'.join(parts)}") from None
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
                raise
            raise DecodeError(f"the name {'/'.join(parts)[:80]}... in the ZIP archive is not possible here") from None
        with out:
            out.write(start)
            shutil.copyfileobj(stream, out, _CHUNK)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
