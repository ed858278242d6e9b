"""Header of a NIfTI file: shape, type of the voxels, scaling, affine and units, checked before any voxel is read.

NIfTI-1 and NIfTI-2 are read if the header and the voxels are in one file. The affine is the sform (a matrix) if it is
set. Otherwise, it is the qform (a rotation, an offset and a spacing), as in nibabel. Lengths without a unit are mm.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.geometry import format_shape
from medtune.serving.volumes.nifti_space import INSTALL, NiftiSpace
from medtune.serving.volumes.volume import Grid, check_voxel_count, make_grid

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

SIZES = {348: 1, 540: 2}  # bytes of the header: version
_MAGIC = {1: b"n+1", 2: b"n+2"}
_PAIR_MAGIC = (b"ni1", b"ni2")  # the voxels are in a separate file
# Type codes of NIfTI whose values are read.
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_REFUSED_TYPES = {1: "binary", 32: "complex64", 128: "RGB", 1536: "float128", 1792: "complex128", 2048: "complex256",
                  2304: "RGBA"}  # fmt: skip
# Largest accepted `offset`. The extensions between the header and the voxels are text of at most some kilobytes.
MAX_OFFSET = 1 << 26


@dataclass(frozen=True)
class NiftiHeader:
    """The checked header of a NIfTI file.

    Attributes:
        grid: voxel grid.
        channels: size of the fourth axis, 1 for a file of three axes.
        dtype: type of the stored voxels, with the byte order.
        scaling: (slope, intercept) that the file declares; None if the stored values need no scaling.
        offset: position of the first voxel in the file, in bytes.
    """

    grid: Grid
    channels: int
    dtype: "np.dtype[np.generic]"
    scaling: tuple[float, float] | None
    offset: int

    @property
    def voxel_bytes(self) -> int:
        """Size of all voxels in bytes."""
        x, y, z = self.grid.shape
        return x * y * z * self.channels * self.dtype.itemsize


def header_size(start: bytes) -> int:
    """Return the size of the header in bytes.

    Args:
        start: the first four bytes of the file.

    Returns:
        348 for NIfTI-1, 540 for NIfTI-2.

    Raises:
        DecodeError: the file is not NIfTI.
    """
    size, _ = _size_and_order(start)
    return size


def parse_header(block: bytes) -> NiftiHeader:
    """Parse and check a header.

    Args:
        block: the first 348 or 540 bytes of the file.

    Returns:
        The header.

    Raises:
        DecodeError: nibabel is not installed, the file is a pair of .hdr and .img, or the header is damaged or
            does not describe a volume of real numbers on a rectangular grid.
    """
    try:
        from nibabel.nifti1 import Nifti1Header
        from nibabel.nifti2 import Nifti2Header
    except ImportError:
        raise DecodeError(INSTALL) from None
    size, order = _size_and_order(block)
    version = SIZES[size]
    header = (Nifti1Header if version == 1 else Nifti2Header)(block[:size], order, check=False)
    magic = bytes(header["magic"]).rstrip(b"\0")
    if magic in _PAIR_MAGIC:
        raise DecodeError("the voxels are in a separate .img file. Save the volume as one .nii or .nii.gz file")
    if magic != _MAGIC[version]:
        raise DecodeError("not a NIfTI file: an Analyze header has no orientation. Convert it to NIfTI")
    shape, channels = _shape(header["dim"].tolist())
    dtype = _dtype(int(header["datatype"]), order)
    space = NiftiSpace.from_header(header, version)
    grid = make_grid(shape, space.affine(), space)
    return NiftiHeader(grid, channels, dtype, _scaling(header), _offset(float(header["vox_offset"]), size))


def _size_and_order(start: bytes) -> tuple[int, str]:
    """Return the size of the header in bytes and its byte order, `<` or `>`."""
    for order, name in (("<", "little"), (">", "big")):
        if (size := int.from_bytes(start[:4], name)) in SIZES:  # type: ignore[arg-type]
            return size, order
    raise DecodeError("not a NIfTI file")


def _shape(dim: list[int]) -> tuple[tuple[int, int, int], int]:
    """Return the shape (X, Y, Z) and the number of channels from the field dim."""
    count, sizes = dim[0], dim[1:]
    if count not in (3, 4):
        described = f" ({format_shape(tuple(sizes[:count]))})" if 1 <= count <= 7 else ""
        raise DecodeError(f"{count} axes{described}; expected a volume of 3 axes, or 4 with channels")
    check_voxel_count(tuple(sizes[:count]))
    return (sizes[0], sizes[1], sizes[2]), sizes[3] if count == 4 else 1


def _dtype(code: int, order: str) -> "np.dtype[np.generic]":
    """Return the type of the voxels from the field datatype and the byte order."""
    if code not in _TYPES:
        name = _REFUSED_TYPES.get(code, f"unknown type {code}")
        raise DecodeError(f"voxels of {name} are not supported; expected integers or real numbers")
    return np.dtype(order + _TYPES[code])


def _scaling(header: "Nifti1Header") -> tuple[float, float] | None:
    """Return slope and intercept; None if the values need no scaling."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):  # not set
        return None
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise DecodeError(f"scl_slope {slope:g} and scl_inter {intercept:g} must be finite")
    return None if (slope, intercept) == (1.0, 0.0) else (slope, intercept)


def _offset(offset: float, size: int) -> int:
    """Check the position of the first voxel in bytes; `size` is the size of the header."""
    offset = offset or float(size + 4)  # 0 means not set: the voxels follow the header and a flag of 4 bytes
    if not size <= offset <= MAX_OFFSET or offset != int(offset):
        raise DecodeError(f"damaged: the voxels start at byte {offset:g}")
    return int(offset)
