"""Source `dicom`: DICOM series of CT or MR with masks as NIfTI files, from a table or from two folders."""

from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import model_validator

from medtune.config.errors import InputError
from medtune.config.validation_errors import param_error
from medtune.data import listing
from medtune.data.sample import Sample
from medtune.data.volume_cases import SUFFIXES, VolumeCase, to_samples
from medtune.data.volume_listing import ListedVolumeParams, check_folder, files_by_name, list_cases
from medtune.data.volume_listing import classes as classes
from medtune.data.volume_listing import inputs as inputs
from medtune.serving.decode import DICOM_SUFFIXES

NAME = "local DICOM series"
LICENSE = "defined by the owner of the series"
CITATION = "none given"
KNOWN_ISSUES: tuple[str, ...] = ()


class Params(ListedVolumeParams):
    """Parameters of the files, the labels and the patients. The path of a volume is the folder of its series."""

    source: Literal["dicom"] = "dicom"

    @model_validator(mode="after")
    def _files_state_the_spacing(self) -> "Params":
        if self.columns.spacing is not None:
            raise param_error(
                "columns.spacing", self.columns.spacing, "DICOM files state their spacing. Remove this key"
            )
        return self


def channels(params: Params) -> tuple[str, ...]:
    """Return the name of the only channel."""
    return ("image",)


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the series.

    Args:
        root: the data root, see medtune.data.sample.
        params: section `data` of params.yaml.

    Returns:
        One sample per series, sorted by the path of its folder.

    Raises:
        InputError: the labels have no names, there are no series, the table cannot be used, a folder or a mask is
            missing, or `patient_pattern` does not match.
    """
    absent = "DICOM series. Add a folder per series and masks"
    root, cases, listed_in = list_cases(root, params, _by_folder, absent)
    return to_samples(root, cases, listed_in, params.patient_pattern, series=True)


def _by_folder(root: Path, params: Params) -> list[VolumeCase]:
    """Return one case for each folder that contains files, and for each mask without such a folder."""
    check_folder(root, "images", params.images)
    content = listing.scan_root(root / params.images, DICOM_SUFFIXES)
    folders = {PurePosixPath(path).parent.as_posix() for path in (*content.images, *content.others)}
    if "." in folders:
        raise InputError(
            f"data.images={params.images}: there are files next to the folders. Put the slices of each series into a "
            "folder of its own"
        )
    masks = files_by_name(root, "masks", params.masks)
    return [
        VolumeCase(name, (f"{params.images}/{name}",), masks.get(name) or f"{params.masks}/{name}{SUFFIXES[0]}")
        for name in sorted(folders | masks.keys())
    ]


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    from medtune.data.volume_example import write_series_case

    for number in range(12):
        patient = f"P{number // 2}"
        name = f"{patient}_{number % 2}"
        write_series_case(root / "images" / name, root / "masks" / f"{name}.nii.gz", number, patient)
    return {"class_names": ["upper organ", "lower organ", "lesion"], "patient_pattern": r"(P\d+)_"}
