"""What lies in a folder: images, files of other types, and files that an operating system put there."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medtune.serving.decode import SUFFIXES
from medtune.serving.dicom import is_dicom_file

SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
SYSTEM_FOLDERS = ("__macosx", "$recycle.bin", "system volume information")
# Hidden files, and Office's marks of files that are open.
_HIDDEN = (".", "~$")
NO_EXTENSION = "without extension"
# Extensions that only compress what the extension before them names: x.nii.gz.
_COMPRESSION = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class FolderContent:
    """Everything under a folder; paths are relative and posix, sorted.

    Attributes:
        images: files with one of the suffixes asked for.
        others: files of other types.
        system: hidden files and files of the operating system; folders of that kind, which are not entered, end in `/`.
        links: folders that are links, which are not entered.
    """

    images: tuple[str, ...]
    others: tuple[str, ...]
    system: tuple[str, ...]
    links: tuple[str, ...]


def scan_folder(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> FolderContent:
    """Return the content of `folder` and of every folder under it.

    Args:
        folder: an existing folder.
        suffixes: lower-case file endings of an image.

    Raises:
        OSError: a folder cannot be read; its `filename` names it.
    """
    images: list[str] = []
    others: list[str] = []
    system: list[str] = []
    links: list[str] = []
    for place, folders, files in os.walk(folder, onerror=_raise):
        here = Path(place).relative_to(folder)
        skipped = [name for name in folders if name.startswith(".") or name.lower() in SYSTEM_FOLDERS]
        linked = [name for name in folders if name not in skipped and os.path.islink(os.path.join(place, name))]
        folders[:] = [name for name in folders if name not in skipped and name not in linked]
        system += [(here / name).as_posix() + "/" for name in skipped]
        links += [(here / name).as_posix() for name in linked]
        for name in files:
            if name.startswith(_HIDDEN) or name.lower() in SYSTEM_FILES:
                kind = system
            else:
                kind = images if _is_image(Path(place, name), suffixes) else others
            kind.append((here / name).as_posix())
    return FolderContent(tuple(sorted(images)), tuple(sorted(others)), tuple(sorted(system)), tuple(sorted(links)))


def _is_image(file: Path, suffixes: tuple[str, ...]) -> bool:
    """By its ending; DICOM files without one, as archives of hospitals export them, by their first bytes."""
    if file.name.lower().endswith(suffixes):
        return True
    named_by_number = file.suffix == "" or file.suffix[1:].isdigit()  # IM0001, or 1.2.840.113619.2.55
    if not named_by_number or ".dcm" not in suffixes:
        return False
    return is_dicom_file(file)


def _raise(error: OSError) -> None:
    raise error


def file_type(path: str) -> str:
    """The lower-case extension of a file, or what to call it without one; system files by their usual names."""
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
    """Return counts as text: `6 .dcm, 6 .gif`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def printable(path: str) -> str:
    """A path as text that every encoding of Unicode can store: bytes that are not UTF-8 become `\\xNN`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
