"""Segmentation of an uploaded NIfTI file or image.

The request has one file, or one file per channel. One volume is segmented at a time, because several would need several
times the memory.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from medtune.serving.manifest import BundleError
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.geometry import format_shape, spacing
from medtune.serving.volumes.nifti import read_grid
from medtune.serving.volumes.resampling import resampled_shape
from medtune.serving.volumes.volume import Grid, Volume

MEDIA_TYPE, IMAGE_MEDIA_TYPE = "application/gzip", "image/png"
# A compressed upload can be a thousand times larger in memory.
MAX_VOXELS = 1 << 28
_ONE_AT_A_TIME = Lock()


class TooLargeError(ValueError):
    """An uploaded volume has too many voxels or channels."""


class StorageError(RuntimeError):
    """The temporary folder of the service cannot be created or written."""


def segment_upload(bundle: VolumeBundle, files: Sequence[tuple[str, bytes]]) -> tuple[dict[str, Any], bytes]:
    """Segment an uploaded volume. The files are written to a temporary folder.

    Args:
        bundle: the loaded bundle.
        files: name and bytes of the file, or of one file per channel in order.

    Returns:
        The JSON entry with the `name` of the first file, and the label map as a .nii.gz file; as a .png file for an
        image.

    Raises:
        DecodeError: the volume cannot be used.
        TooLargeError: the volume has more than `MAX_VOXELS` voxels, before or after resampling. Or there are more files
            than channels.
        StorageError: the files cannot be written, for example because the disk is full.
        RuntimeError: onnxruntime failed, or the model returned a value that is not finite.
    """
    settings = bundle.settings
    channels = 1 if settings.is_planar else len(settings.channels)
    if len(files) > channels:
        raise TooLargeError(f"{len(files)} files; expected one volume of {channels} channels")
    with _temporary_folder() as folder:
        kind = "image" if settings.is_planar else "nii"
        paths = [folder / f"channel{index}.{kind}" for index in range(len(files))]
        try:
            for path, (_, content) in zip(paths, files, strict=True):
                path.write_bytes(content)
            source: Sequence[Path] | Volume = paths
            if settings.is_planar:
                source = bundle.read(paths)
            _check_size(bundle, source.grid if isinstance(source, Volume) else read_grid(paths[0]))
            with _ONE_AT_A_TIME:
                result = bundle.segment(source)
        except DecodeError as error:
            raise DecodeError(str(error).replace(f"{folder}/", "")) from None
        try:
            result.save(target := folder / ("labels.png" if settings.is_planar else "labels.nii.gz"))
        except BundleError as error:
            raise StorageError(_storage_problem("label map", error.__context__)) from None
        (row,) = bundle.rows([result])
        return {"name": files[0][0], **bundle.task.entry(row, bundle.manifest)}, target.read_bytes()


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Create a folder that exists within the block; convert OSError in the block to StorageError."""
    try:
        with tempfile.TemporaryDirectory(prefix="medtune-volume-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise StorageError(_storage_problem("volume", error)) from None


def _storage_problem(what: str, error: BaseException | None) -> str:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return f"the service cannot store the {what}: {reason}. Set TMPDIR to a folder with free space"


def _check_size(bundle: VolumeBundle, grid: Grid) -> None:
    """Check the size of a volume before memory is allocated.

    A small file may have a large spacing. Its resampled volume, with one array per class, then needs most memory.

    Raises:
        TooLargeError: an array would have more than `MAX_VOXELS` values.
    """
    channels, classes = len(bundle.settings.channels), 1 + len(bundle.classes)
    target = resampled_shape(grid.ras_shape, spacing(grid.ras_affine).tolist(), bundle.settings.preparation.spacing)
    for shape, arrays in ((grid.shape, channels), (target, max(channels, classes))):
        if math.prod(shape) * arrays > MAX_VOXELS:
            raise TooLargeError(f"{format_shape(shape)} voxels; at most {MAX_VOXELS // arrays:,} are accepted")
