"""Reading of a volume and its mask in RAS (axes to the right, front and head), and the check of their headers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtune.data.image_masks import check_pair, read_image_mask
from medtune.data.volume_files import VolumeFiles
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes import geometry
from medtune.serving.volumes.dicom_series import read_series, read_series_grid
from medtune.serving.volumes.file_access import file_errors
from medtune.serving.volumes.image_file import read_image
from medtune.serving.volumes.nifti import read_mask, read_volume
from medtune.serving.volumes.nifti_header import NiftiHeader
from medtune.serving.volumes.nifti_voxels import open_nifti
from medtune.serving.volumes.volume import Grid, Volume, check_values

_SAME_SPACING = 1e-3  # relative difference


@dataclass(frozen=True, eq=False)
class LabeledVolume:
    """A volume and its mask in RAS.

    Attributes:
        image: float32 (C, X, Y, Z), with the values of the file.
        mask: uint8 (X, Y, Z) label numbers, 0 is the background.
        affine: float64 (4, 4), maps voxel indices in RAS to mm.
        orientation: orientation of the axes in the file, for example LPS.
    """

    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    orientation: str

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centers along X, Y and Z in mm."""
        x, y, z = geometry.spacing(self.affine).tolist()
        return x, y, z


def check_headers(volume: VolumeFiles, channels: int) -> None:
    """Check the headers of all files of a volume, without reading voxels.

    Args:
        volume: the files. A drawn volume is always accepted.
        channels: number of channels of the data set.

    Raises:
        DecodeError: a header cannot be used, the mask is missing, the number of channels is wrong, or the files differ
            in shape or affine. The message names the file.
    """
    if volume.read is not None:
        return
    if volume.is_image:
        assert volume.mask is not None  # the source lists pairs
        check_pair(volume.channels[0], volume.mask)
        return
    if volume.series is not None:
        _check_mask(volume.mask, read_series_grid(volume.series), volume.series)
        return
    headers = [_read_header(path) for path in volume.channels]
    grid, first = headers[0].grid, volume.channels[0]
    with file_errors(first):
        if (n_channels := sum(header.channels for header in headers)) != channels:
            raise DecodeError(f"{n_channels} channels; expected {channels}")
    for path, header in zip(volume.channels[1:], headers[1:], strict=True):
        _check_same(path, header.grid, grid, first)
    _check_mask(volume.mask, grid, first)


def read_labeled(volume: VolumeFiles, channels: int, labels: int) -> LabeledVolume:
    """Read a volume and its mask.

    Args:
        volume: files that `check_headers` accepted, or the function that draws the volume.
        channels: number of channels of the data set.
        labels: number of labels without the background.

    Returns:
        The volume in RAS.

    Raises:
        DecodeError: a file cannot be used. The message names the file.
        ValueError: a drawn volume does not fit `channels` and `labels`.
    """
    if volume.read is not None:
        return _draw(volume, channels, labels)
    assert volume.mask is not None  # checked by `check_headers`
    if volume.is_image:
        return _read_pair(volume, volume.mask, channels, labels)
    read = read_volume(volume.channels, channels) if volume.series is None else read_series(volume.series)
    mask = read_mask(volume.mask, range(labels + 1), read.grid)
    return LabeledVolume(read.data, mask, _affine(read, volume.spacing), read.grid.orientation)


def spacing_notes(volumes: Sequence[VolumeFiles]) -> list[str]:
    """Return a note if the table and the headers of the files state different spacings, otherwise an empty list."""
    other = sum(map(_states_other_spacing, volumes))
    if not other:
        return []
    return [
        f"The table states another spacing than the files of {other:,} volumes, and replaces it. `medtune predict` "
        "reads the spacing from the file."
    ]


def _states_other_spacing(volume: VolumeFiles) -> bool:
    """Return True if the table states another spacing than the header of the first channel."""
    if volume.spacing is None or not volume.channels or volume.is_image:
        return False
    in_header = geometry.spacing(_read_header(volume.channels[0]).grid.affine)
    return not np.allclose(in_header, volume.spacing, rtol=_SAME_SPACING, atol=0)


def _read_pair(volume: VolumeFiles, mask: Path, channels: int, labels: int) -> LabeledVolume:
    """Read an image and its mask as a volume of one slice."""
    path, (x, y, _) = volume.channels[0], volume.spacing or (1.0, 1.0, 1.0)
    image = read_image(path, channels, (x, y))
    width, height, _ = image.grid.shape
    values = None if volume.mask_values is None else dict(volume.mask_values)
    label_numbers = read_image_mask(mask, labels, values, (width, height), path.name)
    return LabeledVolume(image.data, label_numbers, image.affine, image.grid.orientation)


def _read_header(path: Path) -> NiftiHeader:
    """Read the header of a NIfTI file. The message of a DecodeError names the file."""
    with file_errors(path), open_nifti(path) as (header, _):
        return header


def _check_mask(path: Path | None, grid: Grid, image: Path) -> None:
    """Reject a missing mask, a mask of 4 axes, and a mask on another grid than its volume. `image` is for messages."""
    if path is None:
        with file_errors(image):
            raise DecodeError("the volume has no mask")
    header = _read_header(path)
    with file_errors(path):
        if header.channels > 1:
            raise DecodeError(f"4 axes with {header.channels} masks; expected one mask of 3 axes")
    _check_same(path, header.grid, grid, image)


def _check_same(path: Path, grid: Grid, other: Grid, name: Path) -> None:
    """Reject the file `path` if its grid differs from the grid `other` of the file `name`."""
    with file_errors(path):
        grid.check_same(other, f"the volume {name.name}")


def _affine(volume: Volume, spacing: tuple[float, float, float] | None) -> np.ndarray:
    """Return the affine in RAS. A spacing from the table replaces that of the header."""
    if spacing is None:
        return volume.affine
    affine, grid = volume.grid.affine.copy(), volume.grid
    affine[:3, :3] *= np.asarray(spacing) / geometry.spacing(affine)
    return geometry.ras_affine(affine, grid.shape, grid.orientation)


def _draw(volume: VolumeFiles, channels: int, labels: int) -> LabeledVolume:
    """Draw a volume and convert it to RAS. Raise ValueError if it does not fit `channels` and `labels`."""
    assert volume.read is not None  # checked by the caller
    drawn = volume.read()
    if len(drawn.image) != channels or drawn.image.shape[1:] != drawn.mask.shape or drawn.mask.max() > labels:
        raise ValueError(f"drawn image {drawn.image.shape} and mask {drawn.mask.shape} do not fit {channels} channels "
                         f"and {labels} labels")  # fmt: skip
    for channel in drawn.image:
        check_values(channel)
    orientation = geometry.orientation_of(drawn.affine)
    x, y, z = drawn.mask.shape
    return LabeledVolume(
        np.ascontiguousarray(geometry.to_ras(drawn.image, orientation), np.float32),
        np.ascontiguousarray(geometry.to_ras(drawn.mask, orientation)),
        geometry.ras_affine(drawn.affine, (x, y, z), orientation),
        orientation,
    )
