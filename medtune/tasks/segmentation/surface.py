"""Distances between the surfaces of two masks: normalized surface distance and 95th percentile Hausdorff distance.

A surface voxel is a voxel of the mask with at least one of its six face neighbors outside the mask. Voxels outside the
volume are outside the mask. An axis with a single voxel has no neighbors. Otherwise, every voxel of a two-dimensional
mask would be a surface voxel. Distances are Euclidean, in mm, between voxel centers. Each surface voxel has the same
weight. docs/segmentation_metrics.md compares this convention with those of libraries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
# Tolerance for rounding errors of the spacing. A voxel at a distance of 1.0000001 mm is within 1 mm.
SLACK_MM = 1e-4


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between the surfaces of two masks in mm.

    Attributes:
        from_truth: (surface voxels of the truth,) distance of each to the nearest surface voxel of the prediction.
        from_prediction: (surface voxels of the prediction,) distance of each to the nearest surface voxel of the truth.
    """

    from_truth: Floats
    from_prediction: Floats

    def normalized(self, tolerance: float) -> float:
        """Compute the normalized surface distance (Nikolov et al. 2018, arXiv 1809.04430).

        Args:
            tolerance: largest accepted distance in mm.

        Returns:
            Fraction of the surface voxels of both masks whose distance is within the tolerance, 0..1.
        """
        distances = np.concatenate([self.from_truth, self.from_prediction])
        return float((distances <= tolerance + SLACK_MM).mean())

    def hd95(self) -> float:
        """Compute the 95th percentile of the distances in both directions, and return the larger one in mm."""
        return float(max(np.percentile(self.from_truth, 95), np.percentile(self.from_prediction, 95)))


def surface_distances(truth: Bools, prediction: Bools, spacing: Sequence[float]) -> SurfaceDistances:
    """Compute the distances between the surfaces of two masks.

    The distance transform covers only the bounding box of the union of both masks.

    Args:
        truth: (X, Y, Z) mask with at least one voxel.
        prediction: (X, Y, Z) mask with at least one voxel.
        spacing: (3,) distance between voxel centers along each axis in mm.

    Returns:
        The distances in both directions.
    """
    from scipy.ndimage import distance_transform_edt

    neighbors = _face_neighbors(truth.shape)
    box = _bounding_box(truth | prediction)
    surfaces = [_surface(mask[box], neighbors) for mask in (truth, prediction)]
    from_truth, from_prediction = (
        distance_transform_edt(~other, sampling=spacing)[this] for this, other in (surfaces, surfaces[::-1])
    )
    return SurfaceDistances(from_truth, from_prediction)


def _surface(mask: Bools, neighbors: Bools) -> Bools:
    """Return the surface voxels of a mask. Voxels beyond the border of the array count as outside the mask."""
    from scipy.ndimage import binary_erosion

    return np.asarray(mask & ~binary_erosion(mask, neighbors))


def _face_neighbors(shape: Sequence[int]) -> Bools:
    """Return the structuring element (3, 3, 3) of face neighbors, without neighbors along axes with a single voxel."""
    offset = np.indices((3, 3, 3)) - 1
    flat = np.array(shape) == 1
    along_flat = (offset[flat] != 0).any(axis=0) & (not flat.all())
    return np.asarray((np.abs(offset).sum(axis=0) <= 1) & ~along_flat)


def _bounding_box(mask: Bools) -> tuple[slice, ...]:
    """Return the smallest box that contains all voxels of a mask with at least one voxel."""
    extents = (np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    return tuple(slice(int(extent[0]), int(extent[-1]) + 1) for extent in extents)
