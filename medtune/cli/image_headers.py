"""Image sizes and patients from file headers. No pixels are decoded."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from medtune.serving.dicom import is_dicom_file, read_header
from medtune.serving.pixels import DecodeError


def image_size(file: Path) -> tuple[int, int] | None:
    """Return (width, height) in pixels, or None if the file is not a readable image."""
    try:
        if is_dicom_file(file):
            return read_header(file).size
        with Image.open(file) as image:
            return image.size
    except (OSError, DecodeError, Image.DecompressionBombError):
        return None


def dicom_patients(files: Iterable[Path]) -> int:
    """Return the number of patients in DICOM files; 0 if a file is not DICOM or has no PatientID."""
    patients = set()
    for file in files:
        try:
            patient = read_header(file).patient_id if is_dicom_file(file) else None
        except DecodeError:
            patient = None
        if patient is None:
            return 0
        patients.add(patient)
    return len(patients)
