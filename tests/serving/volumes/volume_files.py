"""Volumes written with nibabel and pydicom, independently of MedTune's code."""

import gzip
import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from hypothesis import strategies as st
from nibabel.eulerangles import euler2mat
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

ORIENTATIONS = sorted(
    "".join(letters)
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for letters in itertools.product(*axes)
)  # fmt: skip
# Types of voxels in NIfTI files.
TYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
SCANNER = 1
SERIES = generate_uid(entropy_srcs=["series"])
FRAME = generate_uid(entropy_srcs=["frame"])
# Byte offset and struct format of header fields of NIfTI-1.
FIELDS = {"dim": (40, "h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "f"), "vox_offset": (108, "f"),
          "scl_slope": (112, "f"), "scl_inter": (116, "f"), "xyzt_units": (123, "B"), "qform_code": (252, "h"),
          "sform_code": (254, "h"), "quatern_b": (256, "f"), "srow_x": (280, "f"), "srow_y": (296, "f"),
          "srow_z": (312, "f"), "magic": (344, "B")}  # fmt: skip


def make_affine(
    spacing: tuple[float, ...] = (1, 1, 1),
    angles: tuple[float, ...] = (0, 0, 0),
    origin: tuple[float, ...] = (-10, 20, 5),
) -> np.ndarray:
    """Return the affine (4, 4) of a grid in RAS with spacing in mm, rotated by angles in radians."""
    affine = np.eye(4)
    affine[:3, :3] = euler2mat(*angles) @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def reoriented(data: np.ndarray, affine: np.ndarray, orientation: str) -> tuple[np.ndarray, np.ndarray]:
    """Store the same volume with other axes, by nibabel: array (X, Y, Z, ...) and affine."""
    change = ornt_transform(io_orientation(affine), axcodes2ornt(orientation))
    return apply_orientation(data, change), affine @ inv_ornt_aff(change, data.shape)


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray | None = None, version: int = 1) -> Path:
    """Write a NIfTI file with equal qform and sform."""
    image_class = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    affine = make_affine() if affine is None else affine
    image = image_class(data, affine, dtype=data.dtype)
    image.set_qform(affine, SCANNER)
    image.set_sform(affine, SCANNER)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)
    return path


def patch(path: Path, **fields: object) -> Path:
    """Overwrite fields of a little-endian NIfTI-1 header. A tuple is written from the first item of the field."""
    content = bytearray(read_content(path))
    for name, value in fields.items():
        offset, kind = FIELDS[name]
        values = value if isinstance(value, tuple | bytes) else (value,)
        struct.pack_into(f"<{len(values)}{kind}", content, offset, *values)
    write_content(path, bytes(content))
    return path


def read_content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def write_content(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def ds(values: np.ndarray) -> list[str]:
    """Return numbers as decimal strings of DICOM."""
    return [format_number_as_ds(float(value)) for value in values]


def write_series(
    folder: Path,
    data: np.ndarray,
    affine: np.ndarray,
    change: Callable[[int, Dataset], None] | None = None,
    step: int = 1,
) -> Path:
    """Write a DICOM series of integers.

    Args:
        folder: created if it does not exist.
        data: (X, Y, Z): columns, rows, slices.
        affine: (4, 4), indices of `data` to RAS mm.
        change: edits the dataset of a slice, given its index.
        step: write every `step`-th slice.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    for index in range(0, data.shape[2], step):
        pixels = np.ascontiguousarray(data[:, :, index].T)
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        uid = generate_uid(entropy_srcs=[str(index)])
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID, dataset.Modality = SERIES, FRAME, "CT"
        dataset.ImagePositionPatient = ds(lps[:3] @ (0, 0, index, 1))
        dataset.ImageOrientationPatient = ds(np.concatenate([lps[:3, 0] / sizes[0], lps[:3, 1] / sizes[1]]))
        dataset.PixelSpacing = ds(sizes[[1, 0]])
        dataset.Columns, dataset.Rows = data.shape[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes()
        if change is not None:
            change(index, dataset)
        # The names are not in the order of the slices.
        dataset.save_as(folder / f"{(index * 7) % 101:03d}.dcm", enforce_file_format=True)
    return folder


@st.composite
def grids(draw: st.DrawFn) -> tuple[tuple[int, int, int], np.ndarray]:
    """Draw a shape and an affine in RAS: anisotropic, and up to 20 degrees oblique around each axis."""
    shape = draw(st.tuples(*[st.integers(2, 5)] * 3))
    spacing = draw(st.tuples(*[st.sampled_from([0.4, 0.75, 1.0, 3.0, 5.0])] * 3))
    angles = draw(st.tuples(*[st.sampled_from([0.0, 0.0, 0.1, -0.35])] * 3))
    origin = draw(st.tuples(*[st.integers(-200, 200)] * 3))
    return shape, make_affine(spacing, angles, origin)
