"""Reading of NIfTI files as volumes and masks in RAS (see geometry.py), and writing of label maps in a file's axes."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medtune.serving.folder_scan import printable
from medtune.serving.output_file import replace_file
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.file_access import file_errors
from medtune.serving.volumes.geometry import format_shape, from_ras
from medtune.serving.volumes.nifti_header import NiftiHeader
from medtune.serving.volumes.nifti_voxels import open_nifti, read_slabs
from medtune.serving.volumes.volume import Grid, Volume, check_values, check_voxel_count

SUFFIXES = (".nii", ".nii.gz")
MAX_LABEL = 255
Labels = npt.NDArray[np.uint8]


def read_grid(path: Path) -> Grid:
    """Read the header of a NIfTI file without its voxels.

    Args:
        path: .nii or .nii.gz file.

    Returns:
        The voxel grid of the file.

    Raises:
        DecodeError: the header cannot be used. The message names the file.
    """
    with file_errors(path), open_nifti(path) as (header, _):
        return header.grid


def read_volume(paths: Path | Sequence[Path], channels: int | None = None) -> Volume:
    """Read a volume from one file, or from one file per channel.

    Args:
        paths: .nii or .nii.gz files in the order of the channels.
        channels: expected number of channels in all files. The fourth axis of a file then counts as channels. None: a
            file with several volumes along the fourth axis is refused, because they may be time points.

    Returns:
        The volume in RAS. A label map of this volume is written on the grid of the first file.

    Raises:
        DecodeError: a file cannot be used. The message names the file.
        ValueError: there are no files.
    """
    files = [paths] if isinstance(paths, Path) else list(paths)
    if not files:
        raise ValueError("no files; expected one file, or one per channel")
    headers = [_read_header(file, channels) for file in files]
    n_channels = sum(header.channels for header in headers)
    if channels is not None and n_channels != channels:
        raise DecodeError(f"{printable(str(files[0]))}: {n_channels} channels; expected {channels}")
    first = headers[0].grid
    for file, header in zip(files[1:], headers[1:], strict=True):
        with file_errors(file):
            header.grid.check_same(first, files[0].name)
    shape = (n_channels, *first.ras_shape)
    with file_errors(files[0]):
        check_voxel_count(shape)
        data = np.empty(shape, np.float32)
    start = 0
    for file, header in zip(files, headers, strict=True):
        _read_channels(file, data[start : start + header.channels])
        start += header.channels
    return Volume(data, first.ras_affine, first)


def read_mask(path: Path, labels: Collection[int], grid: Grid | None = None) -> Labels:
    """Read a mask. A floating-point file is accepted if each value is an integer.

    Args:
        path: .nii or .nii.gz file.
        labels: permitted values from 0 to 255, including the background.
        grid: grid that the mask must have; None for any grid.

    Returns:
        uint8 (X, Y, Z) in RAS.

    Raises:
        DecodeError: the file cannot be used, has values that are not in `labels`, or has another grid. The message
            names the file.
        ValueError: `labels` is empty, or a label is not in 0 to 255.
    """
    if not labels or min(labels) < 0 or max(labels) > MAX_LABEL:
        raise ValueError(f"labels {sorted(labels)}: expected integers from 0 to {MAX_LABEL}")
    with file_errors(path), open_nifti(path) as (header, stream):
        _check_channels(header, None)
        if grid is not None:
            header.grid.check_same(grid, "the volume")
        mask = np.empty(header.grid.ras_shape, np.uint8)
        stored = from_ras(mask, header.grid.orientation)
        for _, slices, values in read_slabs(header, stream):
            _check_labels(values, labels)
            stored[..., slices] = values
        return mask


def write_label_map(path: Path, mask: Labels, grid: Grid) -> None:
    """Write a label map on the original grid. The file appears only after everything is written.

    Affine, qform, sform and units are those of the original file. The same label map always gives the same bytes.

    Args:
        path: .nii or .nii.gz file. An existing file is replaced.
        mask: uint8 (X, Y, Z) in RAS.
        grid: grid of the volume.

    Raises:
        medtune.serving.manifest.BundleError: the file cannot be written.
        ValueError: the mask has another shape or type, or the file another suffix.
    """
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image

    if mask.dtype != np.uint8 or mask.shape != grid.ras_shape:
        raise ValueError(f"a mask of {mask.dtype} {mask.shape}; expected uint8 {grid.ras_shape}")
    suffix = next((suffix for suffix in reversed(SUFFIXES) if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise ValueError(f"{path.name}: expected a name that ends in {' or '.join(SUFFIXES)}")
    header = grid.space.make_header()
    header.set_data_dtype(np.uint8)
    # nibabel changes neither qform nor sform if no affine is given.
    image = (Nifti1Image if grid.space.version == 1 else Nifti2Image)(from_ras(mask, grid.orientation), None, header)
    with replace_file(path, suffix) as temporary:
        image.to_filename(temporary)


def _read_header(path: Path, channels: int | None) -> NiftiHeader:
    """Read and check the header of a file; `channels` as in `read_volume`."""
    with file_errors(path), open_nifti(path) as (header, _):
        _check_channels(header, channels)
        return header


def _check_channels(header: NiftiHeader, channels: int | None) -> None:
    """Raise DecodeError if `channels` is None and the fourth axis may be time points."""
    if channels is None and header.channels > 1:
        shape = (*header.grid.shape, header.channels)
        raise DecodeError(f"4 axes ({format_shape(shape)}) may be time points; expected one volume of 3 axes")


def _read_channels(path: Path, target: npt.NDArray[np.float32]) -> None:
    """Read all channels of a file into an array (C, X, Y, Z) in RAS."""
    with file_errors(path), open_nifti(path) as (header, stream):
        stored = from_ras(target, header.grid.orientation)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite values are refused below
            for channel, slices, values in read_slabs(header, stream):
                stored[channel, ..., slices] = values
        for channel in target:
            check_values(channel)


def _check_labels(values: np.ndarray, labels: Collection[int]) -> None:
    """Raise DecodeError if values of a mask are not integers or not in `labels`."""
    present = np.unique(values)
    if values.dtype.kind == "f" and not (np.isfinite(present).all() and np.array_equal(present, np.rint(present))):
        raise DecodeError("a mask must contain integers, but this file has fractions, NaN or infinite values")
    unknown = [int(value) for value in present.tolist() if value not in labels]
    if unknown:
        shown = ", ".join(str(value) for value in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        known = ", ".join(str(label) for label in sorted(labels))
        raise DecodeError(f"the mask has the labels {shown}, which are not among {known}")
