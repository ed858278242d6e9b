"""DICOM-SEG files of `medtune predict`, read with highdicom and, independently of it, with pydicom."""

import gzip
import json
import sys

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import VLWholeSlideMicroscopyImageStorage, generate_uid

from medtune.cli.main import call
from medtune.serving.manifest import read_manifest
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.cases import Case
from medtune.serving.volumes.dicom_seg import DicomSegFormat
from tests.robustness.tiny_bundle import write_bundle as write_image_bundle
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.volume_files import SERIES, make_affine, reoriented, write_nifti, write_series

STUDY = generate_uid(entropy_srcs=["study"])
NAME, PATIENT = "Müller^Anna", "ID-7781"
SHAPE = (16, 18, 9)
to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def highdicom():
    return pytest.importorskip("highdicom", reason="highdicom is not installed (extra dicom-seg, Python 3.11 to 3.13)")


@pytest.fixture
def bundle(tmp_path):
    return tiny.write_bundle(tmp_path / "bundle")


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


def frames_of(dataset):
    """Yield each frame with its segment, its affine (4, 4) from (column, row) to RAS mm, and the slice it refers to."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    rows, columns = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for frame, group in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        plane = shared if "PlaneOrientationSequence" in shared else group
        directions = np.array(plane.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1] = directions[0] * columns, directions[1] * rows
        affine[:3, 3] = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        yield group.SegmentIdentificationSequence[0].ReferencedSegmentNumber, to_lps @ affine, source, frame


def labels_on(image, dataset):
    """Return the label map of a DICOM-SEG on the grid of a NIfTI image."""
    labels, inverse = np.zeros(image.shape, np.uint8), np.linalg.inv(image.affine)
    for segment, affine, _, frame in frames_of(dataset):
        rows, columns = np.nonzero(frame)
        points = affine @ np.stack([columns, rows, 0 * rows, 1 + 0 * rows])
        indices = (inverse @ points)[:3]
        assert np.abs(indices - np.rint(indices)).max(initial=0) < 0.01
        labels[tuple(np.rint(indices).astype(int))] = segment
    return labels


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


def test_format__series_that_changes_during_the_prediction_is_refused(tmp_path, bundle, highdicom):
    case, writer = Case("scan", (write_scan(tmp_path / "scan"),)), DicomSegFormat.from_manifest(read_manifest(bundle))
    source = writer.read_source(case)
    (tmp_path / "scan" / "000.dcm").unlink()
    with pytest.raises(DecodeError, match="the shape is 16 x 18 x 8, but the series before the prediction has 16 x 18"):
        writer.write(tmp_path / "scan.dcm", VolumeBundle.load(bundle).segment(case.files[0]), source)
    assert not (tmp_path / "scan.dcm").exists()


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


def without_study(index: int, dataset: Dataset) -> None:
    clinical(index, dataset)
    del dataset.StudyInstanceUID


def invalid_class(index: int, dataset: Dataset) -> None:
    clinical(index, dataset)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage


def same_instance(index: int, dataset: Dataset) -> None:
    clinical(index, dataset)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = STUDY


def two_studies(index: int, dataset: Dataset) -> None:
    clinical(index, dataset)
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[str(index % 2)])


def two_patients(index: int, dataset: Dataset) -> None:
    clinical(index, dataset)
    dataset.PatientID = f"{PATIENT}-{index // 5}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_study, "StudyInstanceUID is missing, so a DICOM-SEG cannot refer to this slice. Use --format nifti"),
        (invalid_class, "the series has metadata that a DICOM-SEG cannot have ("),
        (same_instance, "have the same SOPInstanceUID"),
        (two_studies, "belong to different patients or studies (StudyInstanceUID differs)"),
        (two_patients, "belong to different patients or studies (PatientID differs)"),
    ],
)
def test_format__series_without_references_is_skipped(tmp_path, bundle, highdicom, capsys, change, message):
    scan = write_scan(tmp_path / "scan", change=change)
    assert run(bundle, scan, tmp_path / "seg") == 1
    output = capsys.readouterr()
    assert f"skipped {scan}: " in output.err
    assert message in output.err
    assert "Müller" not in output.err + output.out
    assert PATIENT not in output.err + output.out
    assert STUDY not in output.err + output.out
    assert not (tmp_path / "seg" / "scan.dcm").exists()


@pytest.mark.parametrize(
    ("source", "out", "options", "message"),
    [
        ("{scans}/a.nii", "{out}", [], "a.nii is not a DICOM series, and a DICOM-SEG refers to DICOM slices"),
        ("{scans}/series", "{scans}/series/seg", [], "it is inside of the series"),
        ("{scans}/series", "{out}", ["--codes", "{scans}/absent.json"], "absent.json: cannot be read: No such file"),
        ("{scans}/series", "{out}", ["--codes", "{scans}/a.nii"], "a.nii: not a JSON file"),
    ],
)
def test_format__errors_are_one_line_with_exit_code_2(
    tmp_path, bundle, highdicom, capsys, source, out, options, message
):
    scans = tmp_path / "scans"
    write_scan(scans / "series")
    write_nifti(scans / "a.nii", tiny.draw(SHAPE), make_affine(tiny.SPACING))
    names = {"scans": scans, "out": tmp_path / "seg"}
    assert run(bundle, source.format(**names), out.format(**names), *(text.format(**names) for text in options)) == 2
    output = capsys.readouterr().err
    assert message in output
    assert len(output.splitlines()) == 1
    assert not (tmp_path / "seg").exists()


def test_format__needs_the_extra(tmp_path, bundle, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert run(bundle, write_scan(tmp_path / "scan"), tmp_path / "seg") == 2
    output = capsys.readouterr().err
    fix = 'Run pip install "medtune[dicom-seg]"' if sys.version_info < (3, 14) else "Use Python 3.11 to 3.13"
    assert "--format=dicom-seg: highdicom is not installed" in output
    assert fix in output
    assert len(output.splitlines()) == 1


def test_format__of_a_bundle_for_images_is_refused(tmp_path, capsys):
    images = write_image_bundle(tmp_path / "images")
    assert run(images, tmp_path, tmp_path / "seg") == 2
    assert "--format=dicom-seg: " in (output := capsys.readouterr().err)
    assert "does not segment volumes. Remove the option" in output


def test_nifti__has_no_identifiers_of_the_patient(tmp_path, bundle, capsys):
    scan = write_scan(tmp_path / "scan")
    uid = dcmread(scan / "000.dcm").SOPInstanceUID
    assert call(["predict", str(bundle), str(scan), "--out", str(tmp_path / "out"), "--json"]) == 0
    output = capsys.readouterr()
    written = gzip.decompress((tmp_path / "out" / "scan.nii.gz").read_bytes())
    everything = written + (tmp_path / "out" / "volumes.csv").read_bytes() + (output.out + output.err).encode()
    assert all(text.encode() not in everything for text in ("Müller", "Anna", PATIENT, STUDY, SERIES, uid))


def test_codes__need_a_dicom_seg(tmp_path, bundle, capsys):
    arguments = ["predict", str(bundle), str(tmp_path), "--out", str(tmp_path / "out"), "--codes", "codes.json"]
    assert call(arguments) == 2
    assert "--codes=codes.json: only a DICOM-SEG has codes" in capsys.readouterr().err
