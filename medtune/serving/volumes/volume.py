"""A volume in RAS (see geometry.py), and the voxel grid of its file."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes import geometry
from medtune.serving.volumes.nifti_space import NiftiSpace

MAX_VOXELS = 2**31
# A damaged header may state a spacing of kilometers. Such a volume would have billions of voxels after resampling.
MAX_EXTENT_MM = 1e5
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a file, with the axes of the file. The label map is written on this grid.

    Attributes:
        shape: number of voxels along each axis of the file.
        affine: float64 (4, 4), indices of the file to RAS mm.
        orientation: orientation of the file's axes, for example `LPS`.
        space: fields of the NIfTI header.
    """

    shape: tuple[int, int, int]
    affine: Floats
    orientation: str
    space: NiftiSpace

    @property
    def ras_shape(self) -> tuple[int, int, int]:
        """Shape (X, Y, Z) in RAS."""
        return geometry.ras_shape(self.shape, self.orientation)

    @property
    def ras_affine(self) -> Floats:
        """float64 (4, 4), indices in RAS to mm."""
        return geometry.ras_affine(self.affine, self.shape, self.orientation)

    def check_same(self, other: "Grid", name: str) -> None:
        """Check that the voxels of another file are at the same positions.

        The order of the axes may differ, because both files are reoriented to RAS.

        Args:
            other: the grid of the other file.
            name: name of the other file.

        Raises:
            DecodeError: the shapes in RAS differ, or voxels are more than 1e-3 mm apart.
        """
        geometry.check_same_grid(self.ras_shape, self.ras_affine, other.ras_shape, other.ras_affine, name)


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume of one or several channels.

    Attributes:
        data: float32 (C, X, Y, Z) in RAS, without NaN and infinite values. The values have the scale of the file, for
            example Hounsfield units.
        affine: float64 (4, 4), indices of `data` to RAS mm.
        grid: grid of the file.
    """

    data: npt.NDArray[np.float32]
    affine: Floats
    grid: Grid

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (X, Y, Z) in RAS."""
        return self.grid.ras_shape

    @property
    def spacing(self) -> Floats:
        """Distance between voxel centers along X, Y and Z in mm, (3,)."""
        return geometry.spacing(self.affine)


def make_grid(shape: tuple[int, int, int], affine: Floats, space: NiftiSpace) -> Grid:
    """Check an affine and return the grid with its orientation.

    Args:
        shape: shape of the file.
        affine: (4, 4), indices of the file to RAS mm.
        space: fields of the NIfTI header.

    Returns:
        The grid.

    Raises:
        DecodeError: the affine is not finite, or is singular or sheared. Or an axis is longer than `MAX_EXTENT_MM`.
    """
    geometry.check_affine(affine)
    extent = float((geometry.spacing(affine) * shape).max())
    if extent > MAX_EXTENT_MM:
        raise DecodeError(f"an axis is {extent:,.0f} mm long; at most {MAX_EXTENT_MM:,.0f} mm are accepted")
    return Grid(shape, affine, geometry.orientation_of(affine), space)


def check_voxel_count(shape: tuple[int, ...]) -> None:
    """Check the number of voxels before memory is allocated.

    Args:
        shape: shape of the volume, with its channels if there are several.

    Raises:
        DecodeError: a size is not positive, or the volume has more than `MAX_VOXELS` voxels.
    """
    if min(shape) < 1:
        raise DecodeError(f"the shape is {geometry.format_shape(shape)}; each size must be positive")
    count = 1
    for size in shape:
        count *= int(size)
    if count > MAX_VOXELS:
        raise DecodeError(f"{geometry.format_shape(shape)} voxels; at most {MAX_VOXELS:,} are read")


def check_values(channel: npt.NDArray[np.float32]) -> None:
    """Check the values of one channel.

    Args:
        channel: float32 (X, Y, Z).

    Raises:
        DecodeError: a value is NaN or infinite, or all values are equal.
    """
    low, high = float(channel.min()), float(channel.max())  # NaN if any value is NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DecodeError("voxels are NaN or infinite")
    if low == high:
        raise DecodeError(f"the volume is constant: each voxel is {low:g}")
