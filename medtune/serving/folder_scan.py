"""Scan of a folder: its images, files of other types, and files of the operating system."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medtune.serving.decode import SUFFIXES
from medtune.serving.dicom import is_dicom_file

SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
SYSTEM_FOLDERS = ("__macosx", "$recycle.bin", "system volume information")
# Hidden files, and lock files of Microsoft Office.
_HIDDEN = (".", "~$")
NO_EXTENSION = "without extension"
# Extensions of compressed files. Their type includes the previous extension: x.nii.gz has the type .nii.gz.
_COMPRESSION = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class FolderContent:
    """All files in a folder and its subfolders, as sorted relative POSIX paths.

    Attributes:
        images: files with one of the requested suffixes.
        others: files of other types.
        system: hidden files and files of the operating system. Hidden and system folders end in `/`; their content is
            not listed.
        links: symbolic links to folders, which are not followed.
    """

    images: tuple[str, ...]
    others: tuple[str, ...]
    system: tuple[str, ...]
    links: tuple[str, ...]


def scan_folder(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> FolderContent:
    """List the content of a folder and of all its subfolders.

    Args:
        folder: an existing folder.
        suffixes: lower-case file suffixes of images.

    Returns:
        The files by kind.

    Raises:
        OSError: a folder cannot be read. The attribute `filename` of the error is this folder.
    """
    images: list[str] = []
    others: list[str] = []
    system: list[str] = []
    links: list[str] = []
    for root, folders, files in os.walk(folder, onerror=_raise):
        relative = Path(root).relative_to(folder)
        skipped = [name for name in folders if name.startswith(".") or name.lower() in SYSTEM_FOLDERS]
        linked = [name for name in folders if name not in skipped and os.path.islink(os.path.join(root, name))]
        folders[:] = [name for name in folders if name not in skipped and name not in linked]
        system += [(relative / name).as_posix() + "/" for name in skipped]
        links += [(relative / name).as_posix() for name in linked]
        for name in files:
            if name.startswith(_HIDDEN) or name.lower() in SYSTEM_FILES:
                kind = system
            else:
                kind = images if _is_image(Path(root, name), suffixes) else others
            kind.append((relative / name).as_posix())
    return FolderContent(tuple(sorted(images)), tuple(sorted(others)), tuple(sorted(system)), tuple(sorted(links)))


def _is_image(file: Path, suffixes: tuple[str, ...]) -> bool:
    """Return True for a file with one of the suffixes.

    If DICOM is requested, also return True for a DICOM file without a suffix. Hospital archives export such files.
    """
    if file.name.lower().endswith(suffixes):
        return True
    named_by_number = file.suffix == "" or file.suffix[1:].isdigit()  # IM0001, or 1.2.840.113619.2.55
    if not named_by_number or ".dcm" not in suffixes:
        return False
    return is_dicom_file(file)


def _raise(error: OSError) -> None:
    raise error


def file_type(path: str) -> str:
    """Return the lower-case extension of a file, or `without extension`. For a system file, return its file name."""
    name = PurePosixPath(printable(path)).name
    if path.endswith("/"):
        return name + "/"
    if name.startswith(("._", "~$")):
        return name[:2] + "*"
    if name.startswith(".") or name.lower() in SYSTEM_FILES:
        return name
    pure = PurePosixPath(name.lower())
    return "".join(pure.suffixes[-2:] if pure.suffix in _COMPRESSION else pure.suffixes[-1:]) or NO_EXTENSION


def count_types(paths: Iterable[str]) -> dict[str, int]:
    """Return the number of files of each type, sorted by type."""
    return dict(sorted(Counter(map(file_type, paths)).items()))


def format_counts(counts: dict[str, int]) -> str:
    """Format counts as text: `6 .dcm, 6 .gif`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def printable(path: str) -> str:
    """Return a path as valid Unicode text. Bytes that are not UTF-8 are written as hexadecimal escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
