"""Sizes, channels and labels of volumes in `medtune init`, read from some of the files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medtune.config.errors import InputError
from medtune.data.label_names import MAX_LABELS
from medtune.data.volume_files import VolumeFiles
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes import geometry
from medtune.serving.volumes.file_access import file_errors
from medtune.serving.volumes.nifti import read_mask
from medtune.serving.volumes.nifti_voxels import open_nifti

HEADERS_READ = 50  # approximate number of volumes whose header is read
# Masks are read completely to find their labels. Reading stops after MASKS_READ masks or VOXELS_READ voxels. A CT has
# about 1e8 voxels.
MASKS_READ = 8
VOXELS_READ = 3e8


class Headers(NamedTuple):
    """Headers of some volumes.

    Attributes:
        shapes: number of voxels (X, Y, Z) of each volume, with axes in the orientation RAS.
        spacings: millimeters per voxel and axis of each volume.
        channels: largest number of channels in a file.
        bad: error messages about files that cannot be read.
    """

    shapes: list[tuple[int, int, int]]
    spacings: list[list[float]]
    channels: int
    bad: list[str]

    def describe(self) -> str:
        """Return the median size and spacing as text."""
        shape = np.median(self.shapes, axis=0).astype(int)
        spacing = " x ".join(f"{value:.3g}" for value in np.median(self.spacings, axis=0))
        median = "median " if len({*self.shapes}) > 1 or len({*map(tuple, self.spacings)}) > 1 else ""
        x, y, z = shape.tolist()
        shown = f"{median}{geometry.format_shape((x, y, z))} voxels of {spacing} mm"
        return f"{shown} ({len(self.shapes)} headers read)"


def read_headers(volumes: Sequence[VolumeFiles]) -> Headers:
    """Read the headers of about `HEADERS_READ` of the volumes."""
    headers = Headers([], [], 1, [])
    channels = 1
    for volume in volumes[:: max(1, len(volumes) // HEADERS_READ)]:
        path = volume.channels[0] if volume.channels else volume.mask  # a DICOM series has the grid of its mask
        assert path is not None
        try:
            with file_errors(path), open_nifti(path) as (header, _):
                grid, channels = header.grid, max(channels, header.channels)
        except DecodeError as error:
            headers.bad.append(str(error))
            continue
        headers.shapes.append(grid.ras_shape)
        headers.spacings.append(list(volume.spacing or geometry.spacing(grid.ras_affine).tolist()))
    return headers._replace(channels=channels)


def read_labels(masks: Sequence[Path]) -> dict[int, int]:
    """Read the label numbers of some masks.

    Args:
        masks: mask files.

    Returns:
        Number of masks that contain a label, by number of the label, without the background.

    Raises:
        InputError: a mask cannot be read, all masks are empty, or the labels are not numbered consecutively.
    """
    counts: Counter[int] = Counter()
    read, voxels = 0, 0
    for mask in masks[:: max(1, len(masks) // MASKS_READ)][:MASKS_READ]:
        try:
            values = read_mask(mask, range(MAX_LABELS + 1))
        except DecodeError as error:
            raise InputError(str(error)) from None
        counts.update(int(value) for value in np.unique(values) if value)
        read, voxels = read + 1, voxels + values.size
        if voxels > VOXELS_READ:
            break
    if not counts:
        raise InputError(f"{masks[0]}: {read} masks were read, and all are empty. Add masks with labels")
    if max(counts) > 2 * len(counts):
        found = ", ".join(map(str, sorted(counts)))
        raise InputError(f"{masks[0]}: the masks have the labels {found}. Number the labels 1, 2, ... without gaps")
    return dict(sorted(counts.items()))
