"""Files of the predicted label maps: NIfTI files in RAS (axes to the right, the front and the head), or PNG files."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medtune.data.wording import wording
from medtune.runtime.progress import progress
from medtune.serving.decode import decode_labels
from medtune.serving.volumes import image_file
from medtune.serving.volumes.nifti import SUFFIXES, read_mask, write_label_map
from medtune.serving.volumes.nifti_space import NiftiSpace
from medtune.serving.volumes.volume import make_grid
from medtune.tasks.segmentation.volume_predictions import VolumePredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

FOLDER = "segmentations"
_NIFTI = ".nii.gz"
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
    suffix = output_suffix(prepared)
    with progress("evaluate: label maps", len(predictions.rows), wording(prepared.info).items) as advance:
        for row, load in zip(predictions.rows.tolist(), predictions.maps, strict=True):
            entry = prepared.volumes.entries[row]
            affine = np.array(entry.affine, np.float64)
            x, y, z = entry.original_shape
            name = file_name(prepared.paths[row])
            path = folder / f"{name}{suffix}"
            for number in range(2, len(predictions.rows) + 2):
                if path not in paths:
                    break
                path = folder / f"{name}-{number}{suffix}"
            if suffix == _NIFTI:
                write_label_map(path, load(), make_grid((x, y, z), affine, NiftiSpace.from_affine(affine)))
            else:
                image_file.write_mask(path, load())
            paths.append(path)
            advance()
    return paths


def output_suffix(prepared: "PreparedDataset") -> str:
    """Return the suffix of the label maps: .png for images, .nii.gz for other volumes."""
    return image_file.OUTPUT_SUFFIX if "images" in prepared.info["volumes"] else _NIFTI


def read_label_map(path: Path, n_labels: int) -> np.ndarray:
    """Read a label map that `write_label_map` or `image_file.write_mask` has written, uint8 (X, Y, Z) in RAS."""
    if path.name.endswith(_NIFTI):
        return read_mask(path, range(n_labels + 1))
    return np.ascontiguousarray(image_file.to_volume(decode_labels(path)))


def file_name(path: str) -> str:
    """Return the path of a volume as a file name without suffix: `scans/A 1.nii.gz` becomes `scans-A_1`.

    A name that would be too long for the file system is shortened, and gets a digest of the path.
    """
    suffixes = (*reversed(SUFFIXES), *image_file.SUFFIXES)
    suffix = next((suffix for suffix in suffixes if path.lower().endswith(suffix)), "")
    name = re.sub(r"[^\w.-]", "_", path[: len(path) - len(suffix)].strip("/").replace("/", "-")) or "volume"
    if len(name.encode()) <= _MAX_BYTES:
        return name
    digest = hashlib.sha256(path.encode()).hexdigest()[:12]
    return f"{name.encode()[: _MAX_BYTES - 13].decode(errors='ignore')}-{digest}"
