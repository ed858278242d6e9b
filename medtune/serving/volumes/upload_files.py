"""Kind of uploaded files, which their content decides, and the folder of an uploaded DICOM series."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from medtune.serving.dicom import is_dicom
from medtune.serving.folder_scan import SYSTEM_FILES
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.nifti_header import SIZES
from medtune.serving.volumes.zip_series import is_zip, unpack_zip

FileKind = Literal["NIfTI", "DICOM", "ZIP"]
SERIES_KINDS = ("DICOM", "ZIP")
UploadedFile = tuple[str, Path]  # name in the request, and where the file is stored
_START_BYTES = 132  # up to the end of the signature of a DICOM file
_GZIP = b"\x1f\x8b"
_NAME_CHARS = 80
_KINDS = "a NIfTI file, a DICOM file or a ZIP archive of a DICOM series"


def check_kind(files: Sequence[UploadedFile]) -> FileKind:
    """Return the kind of the files of one volume.

    Args:
        files: at least one file.

    Returns:
        The kind that all files have.

    Raises:
        DecodeError: a file is empty or of another kind, the kinds differ, or there are several archives.
    """
    kinds = [_kind_of(f"{name}: " if len(files) > 1 else "", path) for name, path in files]
    for (name, _), kind in zip(files, kinds, strict=True):
        if kind != kinds[0]:
            raise DecodeError(f"{files[0][0]} is {kinds[0]}, but {name} is {kind}. Send one volume per request")
    if kinds[0] == "ZIP" and len(files) > 1:
        raise DecodeError(f"{len(files)} ZIP archives; expected one with one DICOM series")
    return kinds[0]


def _kind_of(start_of_message: str, path: Path) -> FileKind:
    """Return the kind of a file. Raise DecodeError if it is empty or of another kind."""
    with path.open("rb") as stream:
        start = stream.read(_START_BYTES)
    if not start:
        raise DecodeError(f"{start_of_message}the file is empty")
    if is_dicom(start):  # checked first, because DICOM allows any bytes before its signature
        return "DICOM"
    if is_zip(start):
        return "ZIP"
    if start[:2] == _GZIP or any(int.from_bytes(start[:4], order) in SIZES for order in ("little", "big")):
        return "NIfTI"
    raise DecodeError(f"{start_of_message}expected {_KINDS}")


def series_folder(folder: Path) -> Path:
    """Return the folder of the series in the temporary folder of a request."""
    return folder / "series"


def make_series(files: Sequence[UploadedFile], folder: Path) -> Path:
    """Create the folder of an uploaded DICOM series.

    Args:
        files: the slices, which are moved, or one ZIP archive.
        folder: temporary folder of the request.

    Returns:
        The folder. Its files have the names in the request if possible, because messages show these names.

    Raises:
        DecodeError: the archive cannot be used.
        OSError: a file cannot be written.
        medtune.serving.request_errors.TooLargeError: the archive is too large.
    """
    (series := series_folder(folder)).mkdir()
    if _kind_of("", files[0][1]) == "ZIP":
        unpack_zip(files[0][1], series)
        return series
    used: set[str] = set()
    for number, (name, path) in enumerate(files, 1):
        target = _file_name(name)
        while target.casefold() in used:  # clients may give all files the same name
            target = f"{number}-{target}"
        used.add(target.casefold())
        path.rename(series / target)
    return series


def _file_name(name: str) -> str:
    """Return the last part of a path in ASCII. A name that a search for slices would ignore gets a prefix."""
    last = name.replace("\\", "/").rpartition("/")[2]
    text = re.sub(r"[^A-Za-z0-9._ -]", "_", last)[-_NAME_CHARS:].strip(". ")
    return f"slice_{text}" if not text or text.lower() in SYSTEM_FILES else text
