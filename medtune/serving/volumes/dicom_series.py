"""Reading of one CT or MR series from a folder of DICOM files, one slice per file (needs the extra `dicom`).

The result is a volume in RAS (see geometry.py).
Each slice is rescaled with its own RescaleSlope and RescaleIntercept. In PET and some MR series, these elements differ
between slices. The display window is not applied.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medtune.serving.dicom import is_dicom_file
from medtune.serving.folder_scan import scan_folder
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.dicom_slice import SAME, SERIES, DicomSlice, read_slice, read_values
from medtune.serving.volumes.file_access import file_errors
from medtune.serving.volumes.geometry import from_ras
from medtune.serving.volumes.nifti_space import NiftiSpace
from medtune.serving.volumes.slice_stack import sort_slices
from medtune.serving.volumes.volume import Grid, Volume, check_values, check_voxel_count, make_grid

_SUFFIXES = (".dcm", ".dicom", ".ima")
_SHOWN = 16  # characters of a value in a message. A damaged value may contain the patient's name


def read_series(folder: Path) -> Volume:
    """Read the only DICOM series of a folder. Subfolders are searched too.

    Args:
        folder: folder with one file per slice.

    Returns:
        A volume of one channel in RAS. The third axis of its grid runs along the sorted slices.

    Raises:
        DecodeError: pydicom or nibabel is not installed, or the folder has no series or several. Or a slice is damaged,
            missing or doubled, or the slices do not form a rectangular grid. The message names the folder.
    """
    with file_errors(folder):
        slices, grid = read_slices(folder)
        data = np.empty((1, *grid.ras_shape), np.float32)
        stored = from_ras(data[0], grid.orientation)
        for index, entry in enumerate(slices):
            with file_errors(Path(entry.place.name)), np.errstate(over="ignore", invalid="ignore"):
                stored[..., index] = read_values(entry).T  # (rows, columns) to (columns, rows)
        check_values(data[0])
        return Volume(data, grid.ras_affine, grid)


def read_series_grid(folder: Path) -> Grid:
    """Read the grid of the only DICOM series of a folder, without pixels.

    Args:
        folder: folder with one file per slice.

    Returns:
        The voxel grid of the series.

    Raises:
        DecodeError: as `read_series`, except for damaged pixels.
    """
    with file_errors(folder):
        return read_slices(folder)[1]


def read_slices(folder: Path) -> tuple[list[DicomSlice], Grid]:
    """Read the headers of the slices of the only DICOM series of a folder.

    Args:
        folder: folder with one file per slice.

    Returns:
        The slices, sorted along the third axis of the grid, and the grid.

    Raises:
        DecodeError: as `read_series`, except for damaged pixels. The message does not name the folder.
    """
    slices = []
    for name in _find_files(folder):
        with file_errors(Path(name)):
            if (entry := read_slice(folder / name, name)) is not None:
                slices.append(entry)
    if not slices:
        raise DecodeError("no DICOM slices in this folder")
    _check_one_series(slices)
    order, affine = sort_slices([entry.place for entry in slices])
    columns, rows = slices[0].place.shape
    shape = (columns, rows, len(slices))
    check_voxel_count(shape)
    return [slices[index] for index in order], make_grid(shape, affine, NiftiSpace.from_affine(affine))


def _find_files(folder: Path) -> list[str]:
    """Return all files that are DICOM or have the name of a slice. A damaged slice then causes an error."""
    if not folder.is_dir():
        raise DecodeError("not a folder" if folder.exists() else "the folder does not exist")
    content = scan_folder(folder, _SUFFIXES)
    if content.links:
        raise DecodeError(f"{content.links[0]} is a symbolic link to a folder, which is not followed")
    _check_links(folder, (*content.images, *content.others))
    others = [name for name in content.others if _is_numbered(name) or is_dicom_file(folder / name)]
    return sorted((*content.images, *others))


def _check_links(folder: Path, names: Sequence[str]) -> None:
    """Refuse links to files that do not exist, because a slice would be missing."""
    for name in names:
        if (folder / name).is_symlink() and not (folder / name).exists():
            raise DecodeError(f"{name} is a symbolic link to a file that does not exist")


def _is_numbered(name: str) -> bool:
    """Return True for names of slices without suffix, such as IM0001 or 1.2.840.113619.2.55."""
    suffix = Path(name).suffix
    return suffix == "" or suffix[1:].isdigit()


def _check_one_series(slices: Sequence[DicomSlice]) -> None:
    """Check that all slices agree in the elements `SAME` and in whether they are rescaled."""
    first = slices[0]
    for entry in slices[1:]:
        for keyword, value, other in zip(SAME, entry.same, first.same, strict=True):
            if value != other:
                problem = "two series in one folder" if keyword == SERIES else f"{keyword} differs between slices"
                values = other[:_SHOWN] or "none", value[:_SHOWN] or "none"
                shown = f"{values[0]} in {first.place.name}, {values[1]} in {entry.place.name}"
                if keyword.endswith("UID"):  # a UID may identify the patient
                    shown = f"{first.place.name} and {entry.place.name} have different UIDs"
                raise DecodeError(f"{problem}: {shown}")
        if entry.has_rescale != first.has_rescale:
            has, lacks = (first, entry) if first.has_rescale else (entry, first)
            raise DecodeError(f"{has.place.name} has a RescaleSlope, but {lacks.place.name} has none")
