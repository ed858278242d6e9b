"""Headers of the slices to which a DICOM-SEG (a label map in DICOM format) refers."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.dicom_series import read_slices
from medtune.serving.volumes.dicom_slice import read_dataset
from medtune.serving.volumes.file_access import file_errors
from medtune.serving.volumes.geometry import spacing
from medtune.serving.volumes.volume import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

OTHER_FORMAT = "Use --format nifti"
# Elements that identify a slice. A DICOM-SEG refers to them.
_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
# Elements that a DICOM-SEG has in common with its study. DICOM allows them to be empty.
_STUDY = (
    "AccessionNumber", "PatientBirthDate", "PatientID", "PatientName", "PatientSex", "ReferringPhysicianName",
    "StudyDate", "StudyID", "StudyTime",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """Headers of a DICOM series.

    Attributes:
        slices: one dataset without pixels per slice, sorted along the third axis of `grid`.
        grid: voxel grid of the series.
    """

    slices: tuple["Dataset", ...]
    grid: Grid


def read_sources(folder: Path) -> SourceSeries:
    """Read the headers of the only DICOM series of a folder.

    Args:
        folder: folder with one file per slice.

    Returns:
        The headers. Elements of the patient and of the study that are missing or invalid are empty.

    Raises:
        DecodeError: the series cannot be read, a slice lacks a UID, two slices have the same SOPInstanceUID, or the
            slices belong to several patients or studies. The message names the folder and the files.
    """
    with file_errors(folder):
        entries, grid = read_slices(folder)
        distance = float(spacing(grid.affine)[2])
        slices, names = [], [entry.place.name for entry in entries]
        for entry in entries:
            with file_errors(Path(entry.place.name)):
                slices.append(_read(entry.path, distance))
        _check_instances(slices, names)
        return SourceSeries(tuple(slices), grid)


def _read(path: Path, distance: float) -> "Dataset":
    """Read the header of a slice and complete it. `distance` is the distance between slices in mm."""
    dataset = read_dataset(path, stop_before_pixels=True)
    try:
        return _complete(dataset, distance)
    except DecodeError:
        raise
    except Exception as error:  # pydicom converts a value on its first use. Its error may contain the patient's name
        raise DecodeError(f"damaged DICOM file: an element is invalid ({type(error).__name__})") from None


def _complete(dataset: "Dataset", distance: float) -> "Dataset":
    """Empty invalid elements of the study, and replace a missing SliceThickness by `distance` in mm."""
    for keyword in _REQUIRED:
        if not dataset.get(keyword):
            raise DecodeError(f"{keyword} is missing, so a DICOM-SEG cannot refer to this slice. {OTHER_FORMAT}")
    for keyword in _STUDY:
        if keyword not in dataset or not _is_valid(keyword, dataset.get(keyword)):
            setattr(dataset, keyword, "")
    if not _is_positive(dataset.get("SliceThickness")):
        dataset.SliceThickness = format(distance, ".8g")
    return dataset


def _is_positive(value: object) -> bool:
    try:
        return 0 < float(str(value)) < float("inf")
    except ValueError:
        return False


def _is_valid(keyword: str, value: object) -> bool:
    """Return False for an invalid date, time or sex, because highdicom would refuse it."""
    from pydicom.valuerep import DA, TM

    if keyword == "PatientSex":
        return str(value) in ("M", "F", "O")
    try:
        for end, kind in (("Date", DA), ("Time", TM)):
            if keyword.endswith(end) and value:
                kind(str(value))
    except ValueError:
        return False
    return True


def _check_instances(slices: list["Dataset"], names: list[str]) -> None:
    """Check that all slices have the same patient and study, and different SOPInstanceUIDs."""
    first: dict[str, str] = {}
    for dataset, name in zip(slices, names, strict=True):
        for keyword in ("PatientID", "StudyInstanceUID"):
            if dataset.get(keyword) != slices[0].get(keyword):
                raise DecodeError(f"{names[0]} and {name} belong to different patients or studies ({keyword} differs)")
        other = first.setdefault(str(dataset.SOPInstanceUID), name)
        if other is not name:
            raise DecodeError(f"{other} and {name} have the same SOPInstanceUID, so a DICOM-SEG cannot refer to them")
