"""Tiny volumes and masks for the tests of `medtune init`."""

from pathlib import Path

import nibabel as nib
import numpy as np


def write(path: Path, values: np.ndarray, spacing: float = 1.0) -> Path:
    """Write values as a NIfTI file and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([spacing, spacing, spacing, 1])), path)
    return path


def volume(path: Path, channels: int = 1) -> Path:
    """Write a volume of 4 x 5 x 6 voxels, with several channels in its fourth axis."""
    shape = (4, 5, 6) if channels == 1 else (4, 5, 6, channels)
    return write(path, np.arange(np.prod(shape), dtype=np.float32).reshape(shape))


def mask(path: Path, *labels: int) -> Path:
    """Write a mask of 4 x 5 x 6 voxels that contains these labels."""
    values = np.zeros((4, 5, 6), np.uint8)
    values.flat[: len(labels)] = labels
    return write(path, values)


def folders(root: Path, n: int = 4, images: str = "images", masks: str = "masks") -> Path:
    """Write volumes and masks with equal names into two folders."""
    for number in range(n):
        volume(root / images / f"{number}.nii.gz")
        mask(root / masks / f"{number}.nii.gz", 1, 2)
    return root
