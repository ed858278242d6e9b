"""Tiny NIfTI files and DICOM series for the example data sets of sources."""

from pathlib import Path

import numpy as np

from medtune.data.synthetic.phantom import draw_phantom


def write_case(images: list[Path], mask: Path, seed: int) -> None:
    """Write a drawn volume of at most 16 voxels along each axis as NIfTI files, and create their folders.

    Args:
        images: one file per channel. Every second channel has an inverted contrast.
        mask: file of the mask, with the labels 0 to 3.
        seed: seed of the drawing.
    """
    import nibabel as nib

    volume = draw_phantom(seed, 16, lesion=True, anisotropic=seed % 3 == 0, seed=seed)
    image = volume.image[0]
    contrasts = [image if n % 2 == 0 else image.max() - image for n in range(len(images))]
    for file, array in zip([*images, mask], [*contrasts, volume.mask], strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, volume.affine), file)  # type: ignore[no-untyped-call]


def write_series_case(folder: Path, mask: Path, seed: int, patient: str) -> None:
    """Write a drawn volume as a DICOM series of 16 slices, and its mask as a NIfTI file.

    Args:
        folder: folder of the series, which is created.
        mask: file of the mask, with the labels 0 to 3.
        seed: seed of the drawing.
        patient: PatientID.
    """
    import nibabel as nib

    volume = draw_phantom(seed, 16, lesion=True, anisotropic=False, seed=seed)
    values = np.round(volume.image[0] / volume.image.max() * 3000).astype(np.uint16)
    folder.mkdir(parents=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    for index in range(values.shape[2]):
        _write_slice(folder / f"{index:03d}.dcm", values, volume.affine, index, f"1.2.3.{seed + 1}", patient)
    nib.save(nib.Nifti1Image(volume.mask, volume.affine), mask)  # type: ignore[no-untyped-call]


def _write_slice(file: Path, values: np.ndarray, affine: np.ndarray, index: int, uid: str, patient: str) -> None:
    """Write the slice `index` along the last axis as a DICOM file. `uid` is the SeriesInstanceUID."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
    from pydicom.valuerep import format_number_as_ds

    def texts(numbers: np.ndarray) -> list[str]:
        return [format_number_as_ds(float(number)) for number in numbers]

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID(f"{uid}.{index + 1}")
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID, dataset.Modality = uid, f"{uid}.0", "CT"
    dataset.PatientID = patient
    dataset.ImagePositionPatient = texts(lps[:3, 2] * index + lps[:3, 3])
    dataset.ImageOrientationPatient = texts(np.concatenate([lps[:3, 0] / spacing[0], lps[:3, 1] / spacing[1]]))
    dataset.PixelSpacing = texts(spacing[[1, 0]])
    dataset.Columns, dataset.Rows = values.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = np.ascontiguousarray(values[:, :, index].T).tobytes()
    dataset.save_as(file, enforce_file_format=True)
