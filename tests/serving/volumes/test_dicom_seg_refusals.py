"""Series, options and bundles for which no DICOM-SEG can be written."""

import sys

import pytest
from pydicom import Dataset
from pydicom.uid import VLWholeSlideMicroscopyImageStorage, generate_uid

from medtune.cli.main import call
from medtune.serving.manifest import read_manifest
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.cases import Case
from medtune.serving.volumes.dicom_seg import DicomSegFormat
from tests.robustness.tiny_bundle import write_bundle as write_image_bundle
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.clinical_series import PATIENT, SHAPE, STUDY, clinical, run, write_scan
from tests.serving.volumes.volume_files import make_affine, write_nifti


def test_format__series_that_changes_during_the_prediction_is_refused(tmp_path, bundle, highdicom):
    case, writer = Case("scan", (write_scan(tmp_path / "scan"),)), DicomSegFormat.from_manifest(read_manifest(bundle))
    source = writer.read_source(case)
    (tmp_path / "scan" / "000.dcm").unlink()
    with pytest.raises(DecodeError, match="the shape is 16 x 18 x 8, but the series before the prediction has 16 x 18"):
        writer.write(tmp_path / "scan.dcm", VolumeBundle.load(bundle).segment(case.files[0]), source)
    assert not (tmp_path / "scan.dcm").exists()


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


def test_format__element_that_cannot_be_converted(tmp_path, bundle, highdicom, capsys):
    """The error of pydicom would contain the value."""
    file = write_scan(tmp_path / "scan") / "000.dcm"
    file.write_bytes(file.read_bytes().replace(b"\x10\x00\x40\x00CS", b"\x10\x00\x40\x00FD"))
    assert run(bundle, tmp_path / "scan", tmp_path / "seg") == 1
    output = capsys.readouterr().err
    assert "000.dcm: damaged DICOM file: an element is invalid (BytesLengthException)" in output
    assert PATIENT not in output


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


def test_codes__need_a_dicom_seg(tmp_path, bundle, capsys):
    arguments = ["predict", str(bundle), str(tmp_path), "--out", str(tmp_path / "out"), "--codes", "codes.json"]
    assert call(arguments) == 2
    assert "--codes=codes.json: only a DICOM-SEG has codes" in capsys.readouterr().err
