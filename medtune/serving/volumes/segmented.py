"""Result of a bundle (an exported model) for one volume: the label map in RAS (see geometry.py) and its summary."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtune.serving.volumes.geometry import from_ras
from medtune.serving.volumes.image_file import OUTPUT_SUFFIX, write_mask
from medtune.serving.volumes.nifti import write_label_map
from medtune.serving.volumes.volume import Grid

ML_PER_MM3 = 1e-3


@dataclass(frozen=True, eq=False)
class SegmentedVolume:
    """Label map of one volume.

    Attributes:
        ras_labels: uint8 (X, Y, Z) in RAS, 0 is the background.
        grid: voxel grid of the input file.
        volumes_ml: volume of each label in ml, without the background.
        uncertainty: mean of 1 - p over the voxels of each label. p is the probability of the predicted label after
            temperature scaling. NaN for a label that was not predicted.
        flags: differences from the training volumes, one phrase each.
    """

    ras_labels: np.ndarray
    grid: Grid
    volumes_ml: tuple[float, ...]
    uncertainty: tuple[float, ...]
    flags: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray:
        """Label map with the axes of the file, uint8."""
        return from_ras(self.ras_labels, self.grid.orientation)

    @property
    def pixels(self) -> tuple[int, ...]:
        """Number of voxels of each label. The voxels of an image are its pixels."""
        counts = np.bincount(self.ras_labels.ravel(), minlength=1 + len(self.volumes_ml))
        return tuple(counts[1 : 1 + len(self.volumes_ml)].tolist())

    def save(self, path: Path) -> None:
        """Write the label map on the grid of the input file, or as a gray PNG file.

        Args:
            path: .nii or .nii.gz file. For an image, a .png file.

        Raises:
            medtune.serving.manifest.BundleError: the file cannot be written.
        """
        if path.suffix.lower() == OUTPUT_SUFFIX:
            write_mask(path, self.ras_labels)
        else:
            write_label_map(path, self.ras_labels, self.grid)


def label_volumes(labels: np.ndarray, n_labels: int, spacing: Sequence[float]) -> tuple[float, ...]:
    """Compute the volume of each label.

    Args:
        labels: uint8 (X, Y, Z).
        n_labels: number of labels without the background.
        spacing: spacing of the voxels along X, Y and Z in mm.

    Returns:
        Milliliters per label, without the background.
    """
    counts = np.zeros(256, np.int64)
    for plane in labels:  # bincount converts to int64, so a whole volume would need eight times its memory
        counts += np.bincount(plane.ravel(), minlength=256)
    return tuple((counts[1 : n_labels + 1] * (float(np.prod(spacing)) * ML_PER_MM3)).tolist())
