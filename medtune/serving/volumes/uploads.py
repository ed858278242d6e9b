"""Segmentation of an uploaded volume or image with a bundle (an exported model).

The request has a NIfTI file, one NIfTI file per channel, the DICOM files of a series, a ZIP archive of a series, or one
image. The files of the request are in a temporary folder. Only one volume is read and segmented at a time, to limit the
memory.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from medtune.serving.folder_scan import printable
from medtune.serving.manifest import BundleError
from medtune.serving.pixels import DecodeError
from medtune.serving.request_errors import NotAcceptableError, StorageError, TooLargeError
from medtune.serving.volumes.answer_kind import DICOM_MEDIA_TYPE
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.cases import OUTPUT_SUFFIX, Case
from medtune.serving.volumes.dicom_seg import SUFFIX as DICOM_SUFFIX
from medtune.serving.volumes.dicom_seg import DicomSegFormat
from medtune.serving.volumes.dicom_series import read_series_grid
from medtune.serving.volumes.dicom_sources import OTHER_FORMAT
from medtune.serving.volumes.geometry import format_shape, spacing
from medtune.serving.volumes.image_file import OUTPUT_SUFFIX as IMAGE_SUFFIX
from medtune.serving.volumes.label_map_format import LabelMapFormat
from medtune.serving.volumes.nifti import read_grid
from medtune.serving.volumes.resampling import resampled_shape
from medtune.serving.volumes.upload_files import SERIES_KINDS, UploadedFile, check_kind, make_series, series_folder
from medtune.serving.volumes.volume import Grid, Volume

NIFTI_MEDIA_TYPE, IMAGE_MEDIA_TYPE = "application/gzip", "image/png"
_MEDIA_TYPES = {OUTPUT_SUFFIX: NIFTI_MEDIA_TYPE, IMAGE_SUFFIX: IMAGE_MEDIA_TYPE, DICOM_SUFFIX: DICOM_MEDIA_TYPE}
# A limit is necessary because a compressed upload can be a thousand times larger in memory.
MAX_VOXELS = 1 << 28
_ONE_AT_A_TIME = Lock()


@dataclass(frozen=True)
class Answer:
    """Result of a request.

    Attributes:
        entry: JSON entry with the `name` of the first file.
        label_map: content of the file with the label map; None if it was not requested.
        media_type: media type of `label_map`.
    """

    entry: dict[str, Any]
    label_map: bytes | None = None
    media_type: str = "application/json"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a folder for the files of a request, which exists within the block.

    Yields:
        The folder.

    Raises:
        StorageError: the folder cannot be created, or a file could not be written in the block.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="medtune-volume-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise StorageError(_storage_problem("volume", error)) from None


def segment_upload(
    bundle: VolumeBundle, files: Sequence[UploadedFile], folder: Path, writer: LabelMapFormat | None
) -> Answer:
    """Segment an uploaded volume.

    Args:
        bundle: the loaded bundle.
        files: the files of the request in `folder`.
        folder: temporary folder of the request, for further files.
        writer: file format of the label map; None for an answer without label map.

    Returns:
        The answer. Its label map is a .nii.gz file, a DICOM-SEG, or a .png file for an image.

    Raises:
        DecodeError: the volume cannot be used. The message has the names in the request.
        NotAcceptableError: a DICOM-SEG was requested, but the upload is not a DICOM series.
        TooLargeError: the volume has more than `MAX_VOXELS` voxels, before or after resampling. Or there are more files
            than channels, or a ZIP archive is too large.
        StorageError: the label map cannot be written, for example because the disk is full.
        OSError: a file of the volume cannot be written.
        RuntimeError: onnxruntime failed, or the model returned a value that is not finite.
    """
    try:
        return _segment(bundle, files, folder, writer)
    except DecodeError as error:
        raise DecodeError(_without_paths(str(error), files, folder)) from None


def _segment(
    bundle: VolumeBundle, files: Sequence[UploadedFile], folder: Path, writer: LabelMapFormat | None
) -> Answer:
    """Segment as in `segment_upload`, with paths of temporary files in messages."""
    is_planar, paths = bundle.settings.is_planar, [path for _, path in files]
    file_kind = "image" if is_planar else check_kind(files)
    if isinstance(writer, DicomSegFormat) and file_kind not in SERIES_KINDS:
        raise NotAcceptableError(
            f"{DICOM_MEDIA_TYPE}: the upload is {file_kind}, and a DICOM-SEG refers to DICOM slices. Send a DICOM "
            f"series, or request {NIFTI_MEDIA_TYPE}"
        )
    name = files[0][0]
    if file_kind in SERIES_KINDS:
        with _ONE_AT_A_TIME:
            series = make_series(files, folder)
            _check_size(bundle, read_series_grid(series))
            return _run(bundle, series, name, folder, writer)
    channels = 1 if is_planar else len(bundle.settings.channels)
    if len(files) > channels:
        raise TooLargeError(f"{len(files)} files; expected one {file_kind} of {channels} channels")
    if not is_planar:
        _check_size(bundle, read_grid(paths[0]))
    with _ONE_AT_A_TIME:
        source: Sequence[Path] | Volume = paths
        if is_planar:
            source = bundle.read(paths)
            _check_size(bundle, source.grid)
        return _run(bundle, source, name, folder, writer)


def _run(
    bundle: VolumeBundle,
    source: Path | Sequence[Path] | Volume,
    name: str,
    folder: Path,
    writer: LabelMapFormat | None,
) -> Answer:
    """Segment a volume of an accepted size and write its label map."""
    suffix = IMAGE_SUFFIX if bundle.settings.is_planar else OUTPUT_SUFFIX
    headers = None
    if isinstance(writer, DicomSegFormat):
        assert isinstance(source, Path)  # a series
        suffix, headers = DICOM_SUFFIX, writer.read_source(Case(name, (source,)))
    result = bundle.segment(source)
    (row,) = bundle.rows([result])
    entry = {"name": name, **bundle.task.entry(row, bundle.manifest)}
    if writer is None:
        return Answer(entry)
    try:
        writer.write(target := folder / f"labels{suffix}", result, headers)
    except BundleError as error:
        raise StorageError(_storage_problem("label map", error.__context__)) from None
    return Answer(entry, target.read_bytes(), _MEDIA_TYPES[suffix])


def _without_paths(reason: str, files: Sequence[UploadedFile], folder: Path) -> str:
    """Replace the paths of temporary files in a message by the names in the request."""
    series, here = series_folder(folder), printable(str(folder))
    start = series if series.exists() else files[0][1]
    reason = reason.removeprefix(f"{printable(str(start))}: ").replace(f"{here}/", "")
    if start != series:
        for name, path in files:
            reason = reason.replace(path.name, printable(name))
    return reason.replace(OTHER_FORMAT, f"Request {NIFTI_MEDIA_TYPE}")


def _storage_problem(what: str, error: BaseException | None) -> str:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return f"the service cannot store the {what}: {reason}. Set TMPDIR to a folder with free space"


def _check_size(bundle: VolumeBundle, grid: Grid) -> None:
    """Check the size of a volume before memory is allocated.

    A small file with a large spacing gives a large resampled volume, which has one array per class.

    Raises:
        TooLargeError: an array would have more than `MAX_VOXELS` values.
    """
    channels, classes = len(bundle.settings.channels), 1 + len(bundle.classes)
    target = resampled_shape(grid.ras_shape, spacing(grid.ras_affine).tolist(), bundle.settings.preparation.spacing)
    for shape, arrays in ((grid.shape, channels), (target, max(channels, classes))):
        if math.prod(shape) * arrays > MAX_VOXELS:
            raise TooLargeError(f"{format_shape(shape)} voxels; at most {MAX_VOXELS // arrays:,} are accepted")
