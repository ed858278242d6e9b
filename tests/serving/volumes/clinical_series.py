"""DICOM series with the headers of a scanner, and their prediction as DICOM-SEG."""

import numpy as np
from pydicom import Dataset
from pydicom.uid import generate_uid

from medtune.cli.main import call
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.volume_files import make_affine, reoriented, write_series

STUDY = generate_uid(entropy_srcs=["study"])
NAME, PATIENT = "Müller^Anna", "ID-7781"
SHAPE = (16, 18, 9)


def clinical(index: int, dataset: Dataset) -> None:
    """Add the patient and the study, as a scanner does."""
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = (
        NAME,
        PATIENT,
        "19500102",
        "F",
    )
    dataset.StudyInstanceUID, dataset.StudyDate, dataset.StudyTime, dataset.StudyID = STUDY, "20200304", "101112", "5"
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.SeriesNumber = "A77", "", 4
    dataset.SliceThickness = 1.5


def write_scan(folder, values=None, orientation="LPS", angles=(0, 0, 0), change=clinical):
    values = tiny.draw(SHAPE) if values is None else values
    data, affine = reoriented(values.astype(np.int16), make_affine(tiny.SPACING, angles), orientation)
    return write_series(folder, data, affine, change)


def run(bundle, scan, out, *options):
    return call(["predict", str(bundle), str(scan), "--out", str(out), "--format", "dicom-seg", *options])
