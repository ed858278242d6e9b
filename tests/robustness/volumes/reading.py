"""Independent reading of NIfTI files with nibabel, and what differs from MedTune's result."""

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, io_orientation

from medtune.serving.volumes.resampling import resampled_shape
from tests.robustness.volumes.damages import HEADER_BYTES
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.volume_files import FIELDS, read_content

_OFFSET = struct.Struct("<f")
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


def load(file: Path) -> nib.Nifti1Image:
    """Load a NIfTI-1 file. A `vox_offset` of 0 is not set; nibabel would read the header as voxels."""
    content = bytearray(read_content(file))
    position = FIELDS["vox_offset"][0]
    if _OFFSET.unpack_from(content, position) == (0.0,):
        _OFFSET.pack_into(content, position, HEADER_BYTES)
    return nib.Nifti1Image.from_bytes(bytes(content))


def values_of(image: nib.Nifti1Image) -> np.ndarray:
    """Return the values that a file declares, float32."""
    proxy = image.dataobj
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(proxy.get_unscaled()).astype(np.float64) * proxy.slope + proxy.inter
        return values.astype(np.float32)


def label_map_problem(file: Path, label_map: Path) -> str | None:
    """Return how a label map of `tiny_volume_bundle` differs from the expected one, or None.

    The network decides for each voxel alone. If the volume needs no resampling, its labels are therefore known.
    """
    source, result = load(file), nib.load(label_map)
    values, labels = values_of(source), np.asarray(result.dataobj)
    values = values.reshape(values.shape[:3])  # a fourth axis may have one channel
    if labels.shape != values.shape:
        return f"a label map of {labels.shape} for a volume of {values.shape}"
    if not np.array_equal(result.affine, source.affine):
        return "the label map has another affine"
    if not set(np.unique(labels).tolist()) <= {0, 1, 2}:
        return f"the labels {np.unique(labels)}"
    canonical = nib.as_closest_canonical(source)
    spacing = np.linalg.norm(canonical.affine[:3, :3], axis=0) * _MM[int(source.header["xyzt_units"]) & 7]
    shape = canonical.shape[:3]
    if resampled_shape(shape, spacing.tolist(), tiny.SPACING) == shape:
        expected = tiny.expected_labels(values)
        return None if np.array_equal(labels, expected) else f"{(labels != expected).sum()} voxels have a wrong label"
    return None


def mask_problem(file: Path, mask: np.ndarray) -> str | None:
    """Return how a mask of the prepared data differs from its file, or None."""
    source = load(file)
    expected = values_of(source)
    expected = apply_orientation(expected.reshape(expected.shape[:3]), io_orientation(source.affine))
    return None if np.array_equal(mask, expected) else "the prepared mask differs from the file"
