"""Voxels of a NIfTI file, read slab by slab.

The header states the number of bytes. This number is compared with the size of the file before any voxel is read. A
compressed file is decompressed only up to this number, so a gzip bomb cannot fill the memory.
"""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.file_access import open_regular
from medtune.serving.volumes.nifti_header import NiftiHeader, header_size, parse_header

_GZIP = b"\x1f\x8b"
# Deflate, the method of gzip, compresses to 1/1032 at best.
_MAX_RATIO = 1032
_SLAB_BYTES = 1 << 24  # largest size of a slab of several slices
_SIZE_BYTES = 4  # the field with the size of the header, at the start of the file


@contextmanager
def open_nifti(path: Path) -> Iterator[tuple[NiftiHeader, BinaryIO]]:
    """Open a NIfTI file and read its header. The content decides whether it is compressed, not the name.

    Args:
        path: .nii or .nii.gz file.

    Yields:
        The header and a stream at the first voxel.

    Raises:
        DecodeError: the file cannot be used. The message does not name the file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(len(_GZIP))
        file.seek(0)
        if start != _GZIP:
            yield _open_voxels(file, size, size)
            return
        with gzip.GzipFile(fileobj=file) as stream:
            yield _open_voxels(stream, size, size * _MAX_RATIO)  # type: ignore[arg-type]


def read_slabs(header: NiftiHeader, stream: BinaryIO) -> Iterator[tuple[int, slice, np.ndarray]]:
    """Read all voxels in the order of the file.

    Args:
        header: header of the file.
        stream: the file, at the first voxel.

    Yields:
        Channel, slices along the third axis, and the values of these slices (X, Y, slices). Values have the stored
        type, or float64 if the file declares a scaling.

    Raises:
        DecodeError: the file is truncated, or it has more bytes than its header states.
    """
    x, y, z = header.grid.shape
    bytes_per_slice = x * y * header.dtype.itemsize
    step = max(1, _SLAB_BYTES // bytes_per_slice)
    for channel in range(header.channels):
        for first in range(0, z, step):
            slices = slice(first, min(first + step, z))
            count = slices.stop - first
            content = stream.read(count * bytes_per_slice)
            if len(content) < count * bytes_per_slice:
                raise DecodeError("truncated: the file ends before the last voxel")
            stored = np.frombuffer(content, header.dtype).reshape((x, y, count), order="F")
            yield channel, slices, _scaled(stored, header.scaling)
    if stream.read(1):  # reading to the end also verifies the checksum of a compressed file
        raise DecodeError("the file has more bytes than its header states")


def _open_voxels(stream: BinaryIO, size: int, capacity: int) -> tuple[NiftiHeader, BinaryIO]:
    """Return the header and the stream at the first voxel.

    Args:
        stream: the file, at its start.
        size: bytes of the file.
        capacity: largest possible number of bytes after decompression.

    Raises:
        DecodeError: the header cannot be used, or the file is too small for all voxels.
    """
    start = stream.read(_SIZE_BYTES)
    block = start + stream.read(header_size(start) - _SIZE_BYTES)
    if len(block) < header_size(start):
        raise DecodeError("truncated: the header is not complete")
    header = parse_header(block)
    expected = header.offset + header.voxel_bytes
    if expected > capacity:
        raise DecodeError(f"truncated: the header states {expected:,} bytes, but the file of {size:,} bytes has fewer")
    rest = header.offset - len(block)
    if len(stream.read(rest)) < rest:
        raise DecodeError("truncated: the file ends before the first voxel")
    return header, stream


def _scaled(stored: np.ndarray, scaling: tuple[float, float] | None) -> np.ndarray:
    if scaling is None:
        return stored
    slope, intercept = scaling
    with np.errstate(over="ignore", invalid="ignore"):  # the caller refuses infinite values
        return stored.astype(np.float64) * slope + intercept
