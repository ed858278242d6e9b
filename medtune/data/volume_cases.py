"""Cases of a data set of volumes: checks of their files, and conversion to samples.

A case is one volume with its mask, as a table, a JSON file or two folders list it.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from medtune.config.errors import InputError
from medtune.data.listing import require_root, scan_root
from medtune.data.patient_pattern import with_patient
from medtune.data.sample import Sample
from medtune.data.table_paths import ImageFiles
from medtune.data.volume_files import NO_STRATUM, VolumeFiles
from medtune.serving.folder_scan import printable

# Suffixes of NIfTI files.
SUFFIXES = (".nii.gz", ".nii")
MAX_CHANNELS = 4
# Cases in a message.
_SHOWN = 3


@dataclass(frozen=True)
class VolumeCase:
    """One volume as the data set lists it.

    Attributes:
        name: name of the case, for messages.
        images: path of each channel, or the path of the folder of a DICOM series. Paths are relative to the data root.
        mask: path of the mask.
        where: location of the case, such as "volumes.csv line 7"; empty if the name is enough.
        patient: patient; None if unknown.
        spacing: millimeters per voxel that the table states; None if it states none.
        metadata: further columns of manifest.csv.
        site: hospital or site; None if unknown.
        splits: split in each published fold, see `Sample.published_splits`; None if there is none.
    """

    name: str
    images: tuple[str, ...]
    mask: str
    where: str = ""
    patient: str | None = None
    spacing: tuple[float, float, float] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    site: str | None = None
    splits: tuple[str, ...] | None = None

    @property
    def place(self) -> str:
        """Location and name of the case, for messages."""
        return f"{self.where} (case {show_name(self.name)})" if self.where else f"case {show_name(self.name)}"

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all channels and of the mask."""
        return (*self.images, self.mask)


def require_folder(root: Path | None, source: str) -> Path:
    """Check that the data root is a folder.

    Args:
        root: the data root, or None if `data.root` is null.
        source: name of the source, for messages.

    Returns:
        The data root.

    Raises:
        InputError: the root is null, missing or not a folder.
    """
    root = require_root(root)
    if not root.is_dir():
        items = "images" if source == "masks" else "volumes"
        raise InputError(
            f"data.root={root}: not a folder. data.source={source} needs a folder of {items}. Unpack an archive first"
        )
    return root


def show_name(name: str) -> str:
    """Return the name of a case or file as one line of printable text."""
    text = printable(name)
    return text if text.isprintable() else ascii(text)


def strip_suffix(path: str, suffixes: tuple[str, ...] = SUFFIXES) -> str | None:
    """Return a path without its suffix, or None if the path has another suffix."""
    suffix = next((suffix for suffix in suffixes if path.lower().endswith(suffix)), None)
    return None if suffix is None else path[: -len(suffix)]


def to_samples(
    root: Path,
    cases: Sequence[VolumeCase],
    listed_in: str,
    patient_pattern: str | None = None,
    series: bool = False,
    suffixes: tuple[str, ...] = SUFFIXES,
    mask_values: Mapping[int, int] | None = None,
) -> list[Sample]:
    """Convert cases to samples, sorted by path.

    Args:
        root: the data root.
        cases: the cases, in the order of the data set.
        listed_in: file or folder that lists the cases, for messages.
        patient_pattern: `data.patient_pattern`; None: the cases name the patients, if they are known.
        series: True if the volume of each case is the folder of a DICOM series.
        suffixes: allowed suffixes. The default is that of volumes, and any other value that of two-dimensional images.
        mask_values: `data.mask_values`, for images.

    Returns:
        One sample per case. Its path is that of the first channel, or of the folder.

    Raises:
        InputError: a path is outside of the data root, has another suffix, is used twice or does not exist, or the
            pattern does not match.
    """
    files = ImageFiles(root, scan_root(root, suffixes))
    cases = [replace(case, images=tuple(map(_normalize, case.images)), mask=_normalize(case.mask)) for case in cases]
    _refuse(cases, _is_outside, "is outside of data.root", "Write paths relative to data.root, without ..")
    folders = {case.images[0] for case in cases} if series else set()
    kind, fix = ("a NIfTI file", "to NIfTI") if suffixes == SUFFIXES else ("an image", "to PNG")
    _refuse(
        cases,
        lambda path: path not in folders and strip_suffix(path, suffixes) is None,
        f"is not {kind} ({', '.join(suffixes)})",
        f"Convert the files {fix}",
    )
    _check_unique(cases)
    _check_existing(root, cases, files, listed_in, folders)
    actual = {path: root / (files.find(path) or path) for case in cases for path in case.paths}
    inside = {path: file.resolve().is_relative_to(root.resolve()) for path, file in actual.items()}
    _refuse(cases, lambda path: not inside[path], "is a link to a file outside of data.root", "Copy the file")
    values = None if mask_values is None else tuple(sorted(mask_values.items()))
    samples = [_sample(case, actual, series, suffixes != SUFFIXES, values) for case in cases]
    _check_slices(root, cases, samples)
    if patient_pattern is not None:
        samples = [with_patient(sample, patient_pattern) for sample in samples]
    return sorted(samples, key=lambda sample: sample.path)


def _check_slices(root: Path, cases: Sequence[VolumeCase], samples: Sequence[Sample]) -> None:
    """Reject series with slices that are links to files outside of the data root."""
    for case, sample in zip(cases, samples, strict=True):
        if sample.volume is not None and (link := sample.volume.link_outside(root)) is not None:
            name = printable(link.relative_to(root).as_posix())
            raise InputError(f"{case.place}: {name!r} is a link to a file outside of data.root. Copy the file")


def _sample(
    case: VolumeCase,
    files: dict[str, Path],
    series: bool,
    is_image: bool,
    mask_values: tuple[tuple[int, int], ...] | None,
) -> Sample:
    """Convert a case to a sample. `files` contains the file of each path."""
    mask = files[case.mask]
    if series:
        volume = VolumeFiles(mask=mask, series=files[case.images[0]])
    else:
        channels = tuple(files[path] for path in case.images)
        volume = VolumeFiles(channels, mask, case.spacing, is_image=is_image, mask_values=mask_values)
    return Sample(
        case.images[0],
        NO_STRATUM,
        case.patient,
        case.metadata,
        case.splits,
        where=case.where,
        site=case.site,
        volume=volume,
    )


def _normalize(path: str) -> str:
    """Return a posix path without `./` and with forward slashes."""
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def _is_outside(path: str) -> bool:
    """Return True if a path is absolute or contains `..`."""
    return path.startswith("/") or path[1:2] == ":" or ".." in PurePosixPath(path).parts


def _refuse(cases: Sequence[VolumeCase], is_bad: Callable[[str], bool], problem: str, fix: str) -> None:
    """Raise InputError if any path is bad. The message names the first bad path and counts the cases."""
    bad = [(case, paths) for case in cases if (paths := [path for path in case.paths if is_bad(path)])]
    if bad:
        case, paths = bad[0]
        raise InputError(
            f"{case.place}: {printable(paths[0])!r} {problem} ({len(bad):,} of {len(cases):,} cases). {fix}"
        )


def _check_unique(cases: Sequence[VolumeCase]) -> None:
    """Reject a file that is used twice, in one case or in several."""
    used: dict[str, VolumeCase] = {}
    repeated: list[tuple[str, VolumeCase, VolumeCase]] = []
    for case in cases:
        shared = [(path, used[path]) for path in case.paths if path in used]
        shared += [(path, case) for path in set(case.paths) if case.paths.count(path) > 1]
        repeated += [(path, other, case) for path, other in shared[:1]]
        used.update(dict.fromkeys(case.paths, case))
    if repeated:
        path, other, case = repeated[0]
        places = case.place if other is case else f"{other.place} and {case.place}"
        raise InputError(
            f"{places}: {printable(path)!r} is used twice ({len(repeated):,} of {len(cases):,} cases repeat a file). "
            "Remove the duplicates"
        )


def _check_existing(
    root: Path, cases: Sequence[VolumeCase], files: ImageFiles, listed_in: str, folders: Collection[str]
) -> None:
    """Reject cases with a file or folder that does not exist."""
    incomplete, listed = [], {path for case in cases for path in case.paths}

    def exists(path: str) -> bool:
        return os.path.isdir(root / path) if path in folders else os.path.isfile(root / (files.find(path) or path))

    for case in cases:
        missing = [path for path in case.paths if not exists(path)]
        if missing:
            what = "mask" if missing == [case.mask] else "image"
            guess = files.guess(missing[0])
            hint = f" (there is {printable(guess)!r})" if guess and guess not in listed else ""
            incomplete.append(f"{show_name(case.name)} has no {what} {printable(missing[0])!r}{hint}")
    if incomplete:
        more = f"; and {len(incomplete) - _SHOWN:,} more" if len(incomplete) > _SHOWN else ""
        shown = "; ".join(incomplete[:_SHOWN]) + more
        raise InputError(
            f"{len(incomplete):,} of {len(cases):,} cases lack a file: {shown}. Add the files, or remove these cases "
            f"from {listed_in}"
        )
