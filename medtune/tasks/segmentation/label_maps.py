"""NIfTI files of the predicted label maps, on the grids of the volumes in RAS."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medtune.runtime.progress import progress
from medtune.serving.volumes.nifti import SUFFIXES, write_label_map
from medtune.serving.volumes.nifti_space import NiftiSpace
from medtune.serving.volumes.volume import make_grid
from medtune.tasks.segmentation.folds import VolumePredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

FOLDER = "segmentations"
_MAX_BYTES = 200  # of a name; file systems allow 255 with suffix and number


def write_label_maps(folder: Path, prepared: "PreparedDataset", predictions: VolumePredictions) -> list[Path]:
    """Write the label map of every volume after post-processing.

    Args:
        folder: output folder, which is created.
        prepared: prepared dataset.
        predictions: predictions of the volumes.

    Returns:
        One path per volume. A volume that two folds test has two files.
    """
    folder.mkdir(parents=True)
    paths: list[Path] = []
    with progress("evaluate: NIfTI files", len(predictions.rows), "volumes") as advance:
        for row, load in zip(predictions.rows.tolist(), predictions.maps, strict=True):
            entry = prepared.volumes.entries[row]
            affine = np.array(entry.affine, np.float64)
            x, y, z = entry.original_shape
            name = file_name(prepared.paths[row])
            path = folder / f"{name}.nii.gz"
            for number in range(2, len(predictions.rows) + 2):
                if path not in paths:
                    break
                path = folder / f"{name}-{number}.nii.gz"
            write_label_map(path, load(), make_grid((x, y, z), affine, NiftiSpace.from_affine(affine)))
            paths.append(path)
            advance()
    return paths


def file_name(path: str) -> str:
    """Return the path of a volume as a file name without suffix: `scans/A 1.nii.gz` becomes `scans-A_1`.

    A name that would be too long for the file system is shortened, and gets a digest of the path.
    """
    suffix = next((suffix for suffix in reversed(SUFFIXES) if path.lower().endswith(suffix)), "")
    name = re.sub(r"[^\w.-]", "_", path[: len(path) - len(suffix)].strip("/").replace("/", "-")) or "volume"
    if len(name.encode()) <= _MAX_BYTES:
        return name
    digest = hashlib.sha256(path.encode()).hexdigest()[:12]
    return f"{name.encode()[: _MAX_BYTES - 13].decode(errors='ignore')}-{digest}"
