"""Volumes that `medtune predict` finds: NIfTI files, one file per channel, or folders of DICOM series.

A case is one volume to segment. With one channel, each NIfTI file is a case. Several channels are the fourth axis of
one file, or there is one file per channel. These files have the names of nnU-Net (`CASE_0000.nii.gz`,
`CASE_0001.nii.gz`, ...), or the user separates them by commas. A folder without NIfTI files is one DICOM series.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtune.serving.dicom import is_dicom_file
from medtune.serving.folder_scan import printable, scan_folder
from medtune.serving.manifest import BundleError
from medtune.serving.output_file import MAX_NAME_BYTES
from medtune.serving.volumes.nifti import SUFFIXES

OUTPUT_SUFFIX = ".nii.gz"
SUFFIXES_OF_RESULTS = (OUTPUT_SUFFIX, ".dcm", ".png")
TABLE = "volumes.csv"
TABLE_END = ",flags,seconds"  # last columns of the table
_CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Case:
    """One volume to segment.

    Attributes:
        name: name of the output without suffix.
        files: a file, one file per channel, or the folder of a DICOM series.
        suffix: suffix of the output.
    """

    name: str
    files: tuple[Path, ...]
    suffix: str = OUTPUT_SUFFIX

    @property
    def path(self) -> str:
        """The files, separated by commas."""
        return ",".join(file.as_posix() for file in self.files)

    def target(self, out: Path) -> Path:
        """Return the file of the label map in the folder of the results."""
        return out / (self.name + self.suffix)


def find_cases(paths: Sequence[Path], channels: int, out: Path) -> list[Case]:
    """List the volumes of files and folders.

    Args:
        paths: NIfTI files, several files separated by commas, folders of NIfTI files, and folders of DICOM series.
        channels: number of channels that the bundle (the exported model) reads.
        out: folder of the results. If a folder in `paths` contains `out`, the files in `out` are not listed.

    Returns:
        The cases, which have different names. The cases of one folder are sorted.

    Raises:
        BundleError: a path does not exist, a folder has no volumes, channels are missing, or two cases have the same
            name.
    """
    cases: list[Case] = []
    files: list[Path] = []
    for path in paths:
        parts = [Path(part) for part in str(path).split(",")]
        if os.path.isdir(path):
            nifti_files = _nifti_files(path, out)
            files += nifti_files
            if not nifti_files:
                cases.append(Case(path.resolve().name or "series", (path,)))
        elif os.path.exists(path):  # Path.exists fails if a list of files is too long for a name
            files.append(path)
        elif len(parts) > 1:
            cases.append(Case(_name(_require(parts)[0]), tuple(parts)))
        else:
            raise BundleError(f"{path} does not exist. Check the path")
    return unique_cases([*_group(dict.fromkeys(files), channels), *cases])


def unique_cases(cases: Iterable[Case]) -> list[Case]:
    """Return the cases without duplicates. Raise BundleError if two different cases have the same name."""
    by_name: dict[str, Case] = {}
    for case in dict.fromkeys(cases):
        other = by_name.setdefault(case.name.casefold(), case)
        if other is not case:
            raise BundleError(f"{other.path} and {case.path} have the same name. Predict them with different --out")
    return list(by_name.values())


def check_outputs(cases: Iterable[Case], out: Path) -> None:
    """Check that the results can be written and that none replaces an input.

    Args:
        cases: the cases.
        out: folder of the results.

    Raises:
        BundleError: the output of a case is an input file, or a file that `medtune predict` has not written. Also if
            the name of the output would be too long, or the folder has a label map of the case in another format.
    """
    cases = list(cases)
    inputs = {_identity(file) for case in cases for file in case.files}
    for case in cases:
        if (size := len(os.fsencode(case.target(out).name))) > MAX_NAME_BYTES:
            raise BundleError(
                f"{printable(case.path)}: the name of its label map would have {size} bytes; at most {MAX_NAME_BYTES} "
                "are possible. Rename it"
            )
    targets = [target for target in (case.target(out) for case in cases) if os.path.exists(target)]
    for target in targets:
        if _identity(target) in inputs:
            raise BundleError(f"--out={out}: its file {target.name} is an input. Use another folder")
    existing = [*targets, *([out / TABLE] if os.path.exists(out / TABLE) else [])]
    if existing and not _has_results(out):
        raise BundleError(f"--out={out}: its file {existing[0].name} is not a result of this command. Use a new folder")
    other = [out / (case.name + end) for case in cases for end in SUFFIXES_OF_RESULTS if end != case.suffix]
    if stale := [target for target in other if os.path.exists(target) and _has_results(out)]:
        raise BundleError(f"--out={out}: its file {stale[0].name} has another format. Use a new folder")


def _has_results(out: Path) -> bool:
    """Return True if the folder has a table of `medtune predict`. A killed run leaves an incomplete table."""
    table = out / TABLE
    for file in [table] if table.exists() else [out / f"{TABLE}.partial", *out.glob(f".{TABLE}.*.tmp")]:
        with contextlib.suppress(OSError), file.open(encoding="utf-8", errors="replace") as stream:
            line = stream.readline().rstrip()
            if line.startswith("path,") and line.endswith(TABLE_END):
                return True
    return False


def _nifti_files(folder: Path, out: Path) -> list[Path]:
    """Return the NIfTI files of a folder that are not in `out`. An empty list means a DICOM series."""
    try:
        content = scan_folder(folder, SUFFIXES)
    except OSError as error:
        raise BundleError(f"{error.filename} cannot be read: {error.strerror}. Check the permissions") from None
    if not content.images and not content.others:
        raise BundleError(
            f"no volumes under {folder}: looked for {' '.join(SUFFIXES)} and DICOM files. Use another path"
        )
    results, root = out.resolve(), folder.resolve()
    files = [folder / name for name in content.images]
    if results != root and results.is_relative_to(root):
        files = [file for file in files if not file.resolve().is_relative_to(results)]
    if files and (slices := [name for name in content.others if is_dicom_file(folder / name)]):
        raise BundleError(
            f"{folder}: it has NIfTI files and DICOM files, such as {printable(slices[0])}. Name the NIfTI files, or "
            "move them out of the series"
        )
    return files


def _require(files: Sequence[Path]) -> Sequence[Path]:
    """Return the files. Raise BundleError if one of them does not exist."""
    for file in files:
        if not os.path.exists(file):
            raise BundleError(f"{file} does not exist. Check the path")
    return files


def _group(files: Iterable[Path], channels: int) -> list[Case]:
    """Return one case per file, but only one case for files whose nnU-Net names differ in the channel."""
    listed = list(files)
    with_channel_0 = {(file.parent, base) for file in listed for base, number in [_channel(file)] if number == 0}
    cases: dict[tuple[Path, str], Case] = {}
    for file in listed:
        base, number = _channel(file)
        if number is None or (file.parent, base) not in with_channel_0:
            cases[file, ""] = Case(_name(file), (file,))
        elif number >= channels:
            raise BundleError(
                f"{file}: its name states channel {number} of {base}, but the channels of the bundle are 0 to "
                f"{channels - 1}. Rename or remove it"
            )
        elif number == 0:
            suffix = file.name[len(base) + len("_0000") :]
            group = tuple(file.with_name(f"{base}_{index:04}{suffix}") for index in range(channels))
            _require(group)
            cases[file, base] = Case(base, group)
    return list(cases.values())


def _channel(file: Path) -> tuple[str, int | None]:
    """Return the name of the case and the channel number, which is None if the file name has no number."""
    name = _name(file)
    match = _CHANNEL.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, None)


def _name(file: Path) -> str:
    """Return the name of a file without suffix."""
    lower = file.name.lower()
    suffix = next((suffix for suffix in reversed(SUFFIXES) if lower.endswith(suffix)), file.suffix)
    return file.name[: len(file.name) - len(suffix)] or file.name


def _identity(file: Path) -> object:
    """Return the device and inode of a file, which are equal for all its links. Return the path if both are unknown."""
    try:
        status = file.stat()
    except OSError:
        return file
    return status.st_dev, status.st_ino
