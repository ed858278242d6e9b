"""Segmentation of an uploaded NIfTI file.

The request has one file, or one file per channel. One volume is segmented at a time, because several would need several
times the memory.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.geometry import format_shape
from medtune.serving.volumes.nifti import read_grid

MEDIA_TYPE = "application/gzip"
# A compressed upload can be a thousand times larger in memory.
MAX_VOXELS = 1 << 28
_ONE_AT_A_TIME = Lock()


class TooLargeError(ValueError):
    """An uploaded volume has too many voxels or channels."""


def segment_upload(bundle: VolumeBundle, files: Sequence[tuple[str, bytes]]) -> tuple[dict[str, Any], bytes]:
    """Segment an uploaded volume. The files are written to a temporary folder.

    Args:
        bundle: the loaded bundle.
        files: name and bytes of the file, or of one file per channel in order.

    Returns:
        The JSON entry with the `name` of the first file, and the label map as a .nii.gz file.

    Raises:
        DecodeError: the volume cannot be used.
        TooLargeError: the volume has more than `MAX_VOXELS` voxels, or there are more files than channels.
    """
    channels = len(bundle.settings.channels)
    if len(files) > channels:
        raise TooLargeError(f"{len(files)} files; expected one volume of {channels} channels")
    with tempfile.TemporaryDirectory(prefix="medtune-volume-") as folder:
        paths = [Path(folder) / f"channel{index}.nii" for index in range(len(files))]
        try:
            for path, (_, content) in zip(paths, files, strict=True):
                path.write_bytes(content)
            shape = read_grid(paths[0]).shape
            if int(np.prod(shape, dtype=np.int64)) * channels > MAX_VOXELS:
                raise TooLargeError(f"{format_shape(shape)} voxels; at most {MAX_VOXELS // channels:,} are accepted")
            with _ONE_AT_A_TIME:
                result = bundle.segment(paths)
        except DecodeError as error:
            raise DecodeError(str(error).replace(f"{folder}/", "")) from None
        result.save(target := Path(folder) / "labels.nii.gz")
        (row,) = bundle.rows([result])
        return {"name": files[0][0], **bundle.task.entry(row, bundle.manifest)}, target.read_bytes()
