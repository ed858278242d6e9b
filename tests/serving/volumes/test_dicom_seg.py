"""DICOM-SEG files of `medtune predict`, read with highdicom and, independently of it, with pydicom."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from medtune.cli.main import call
from medtune.serving.manifest import read_manifest
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.cases import Case
from medtune.serving.volumes.dicom_seg import DicomSegFormat
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.clinical_series import NAME, PATIENT, SHAPE, STUDY, run, write_scan
from tests.serving.volumes.dicom_frames import frames_of, labels_on, to_lps
from tests.serving.volumes.volume_files import SERIES


@pytest.mark.parametrize(
    ("orientation", "angles"), [("LPS", (0, 0, 0)), ("LIA", (0, 0, 0)), ("PIR", (0.1, 0, 0.3)), ("LPI", (0.3, -0.2, 0))]
)
def test_format__equals_the_nifti_label_map(tmp_path, bundle, highdicom, orientation, angles):
    scan = write_scan(tmp_path / "scan", orientation=orientation, angles=angles)
    assert run(bundle, scan, tmp_path / "seg") == 0
    assert call(["predict", str(bundle), str(scan), "--out", str(tmp_path / "nifti")]) == 0
    image = nib.load(tmp_path / "nifti" / "scan.nii.gz")
    expected = np.asarray(image.dataobj)
    assert set(np.unique(expected)) == {0, 1, 2}
    assert np.array_equal(labels_on(image, dcmread(tmp_path / "seg" / "scan.dcm")), expected)
    read = highdicom.seg.segread(tmp_path / "seg" / "scan.dcm").get_volume(combine_segments=True)
    indices = np.linalg.inv(image.affine) @ to_lps @ read.affine
    z, y, x = np.nonzero(read.array)
    found = np.rint((indices @ np.stack([z, y, x, np.ones_like(x)]))[:3]).astype(int)
    assert np.array_equal(read.array[z, y, x], expected[tuple(found)])
    assert len(x) == np.count_nonzero(expected)
    assert {path.name for path in (tmp_path / "seg").iterdir()} == {"scan.dcm", "volumes.csv"}


def test_format__describes_the_bundle_and_its_labels(tmp_path, bundle, highdicom):
    scan = write_scan(tmp_path / "scan")
    slices = {file.SOPInstanceUID: file for file in map(dcmread, sorted(scan.iterdir()))}
    codes = tmp_path / "codes.json"
    codes.write_text(json.dumps({"lesion": {"type": ["4147007", "SCT", "Mass"]}}))
    assert run(bundle, scan, tmp_path / "seg", "--codes", str(codes)) == 0
    dataset, any_slice = dcmread(tmp_path / "seg" / "scan.dcm"), next(iter(slices.values()))
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate", "StudyTime"):
        assert dataset[keyword].value == any_slice[keyword].value
    assert str(dataset.PatientName) == NAME
    assert dataset.SeriesInstanceUID != any_slice.SeriesInstanceUID
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == any_slice.SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == set(slices)
    for _, affine, source, _ in frames_of(dataset):
        assert np.allclose(
            to_lps[:3, :3] @ affine[:3, 3], np.array(slices[source].ImagePositionPatient, float), atol=1e-3
        )
    organ, lesion = dataset.SegmentSequence
    assert (organ.SegmentNumber, organ.SegmentLabel, organ.SegmentAlgorithmType) == (1, "organ", "AUTOMATIC")
    assert organ.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert lesion.SegmentedPropertyTypeCodeSequence[0].CodeValue == "4147007"
    (algorithm,) = lesion.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "MedTune tiny"
    (family,) = algorithm.AlgorithmFamilyCodeSequence
    assert (family.CodeValue, family.CodeMeaning) == ("123110", "Artificial Intelligence")
    assert read_manifest(bundle)["sha256"] in algorithm.AlgorithmParameters
    assert dataset.SeriesNumber == 1004
    assert dataset.DeviceSerialNumber == read_manifest(bundle)["sha256"]
    (measures,) = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (1.5, 2)


def test_format__empty_label_map(tmp_path, bundle, highdicom):
    values = np.minimum(tiny.draw(SHAPE), 100)
    assert run(bundle, write_scan(tmp_path / "scan", values), tmp_path / "seg") == 0
    dataset = dcmread(tmp_path / "seg" / "scan.dcm")
    assert [segment.SegmentLabel for segment in dataset.SegmentSequence] == ["organ", "lesion"]
    assert not dataset.pixel_array.any()
    assert not highdicom.seg.segread(tmp_path / "seg" / "scan.dcm").get_volume(combine_segments=True).array.any()


def test_format__names_that_dicom_cannot_represent(tmp_path, bundle, highdicom):
    manifest = {**read_manifest(bundle), "classes": ["肝\\臓 " * 30, "\t"], "name": "data\nset " * 10}
    case, writer = Case("scan", (write_scan(tmp_path / "scan"),)), DicomSegFormat.from_manifest(manifest)
    result = VolumeBundle.load(bundle).segment(case.files[0])
    writer.write(tmp_path / "scan.dcm", result, writer.read_source(case))
    dataset = dcmread(tmp_path / "scan.dcm")
    assert [segment.SegmentLabel for segment in dataset.SegmentSequence] == [("肝/臓 " * 16).strip(), "unnamed"]
    assert dataset.ManufacturerModelName == ("data set " * 10)[:64].strip()
    assert str(dataset.PatientName) == NAME


def incomplete(index: int, dataset: Dataset) -> None:
    """Write a study with missing and invalid elements."""
    dataset.StudyInstanceUID, dataset.PatientName = STUDY, NAME
    dataset.LossyImageCompression = "01"
    dataset.StudyDate, dataset.StudyTime, dataset.PatientSex, dataset.SliceThickness = "today", "noon", "U", None


def test_format__incomplete_headers(tmp_path, bundle, highdicom):
    assert run(bundle, write_scan(tmp_path / "scan", change=incomplete), tmp_path / "seg") == 0
    dataset = dcmread(tmp_path / "seg" / "scan.dcm")
    assert {dataset.PatientID, dataset.StudyDate, dataset.StudyTime, dataset.PatientSex} == {""}
    assert dataset.LossyImageCompression == "01"
    assert dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 2


def test_nifti__has_no_identifiers_of_the_patient(tmp_path, bundle, capsys):
    scan = write_scan(tmp_path / "scan")
    uid = dcmread(scan / "000.dcm").SOPInstanceUID
    assert call(["predict", str(bundle), str(scan), "--out", str(tmp_path / "out"), "--json"]) == 0
    output = capsys.readouterr()
    written = gzip.decompress((tmp_path / "out" / "scan.nii.gz").read_bytes())
    everything = written + (tmp_path / "out" / "volumes.csv").read_bytes() + (output.out + output.err).encode()
    assert all(text.encode() not in everything for text in ("Müller", "Anna", PATIENT, STUDY, SERIES, uid))
