"""Uploaded DICOM series: the answers equal the files and the messages of `medtune predict`."""

import io
import shutil
import sys
import tempfile
import zipfile

import nibabel as nib
import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydicom import dcmread

from medtune.cli.main import call
from medtune.serving.http import create_app
from medtune.serving.volumes.bundle import VolumeBundle
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.clinical_series import PATIENT, SHAPE, STUDY, run, write_scan
from tests.serving.volumes.dicom_frames import labels_on
from tests.serving.volumes.volume_files import make_affine, write_nifti

DICOM = {"accept": "application/dicom"}
JSON = {"accept": "application/json"}


@pytest.fixture
def client(tmp_path, bundle, monkeypatch):
    """Return a client of the service, which must leave no temporary file."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    yield TestClient(create_app(VolumeBundle.load(bundle)))
    assert not list((tmp_path / "tmp").iterdir())


def as_form(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {"files": [("files", (path.name, path.read_bytes())) for path in files]}


def as_zip(folder):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    return {"content": content.getvalue(), "headers": {"content-type": "application/zip"}}


def as_form_of_zip(folder):
    return {"files": {"series": ("series.zip", as_zip(folder)["content"])}}


def post(client, request, headers):
    return client.post("/predict", **request | {"headers": request.get("headers", {}) | headers})


@pytest.mark.parametrize(("encode", "orientation"), [(as_form, "LPS"), (as_zip, "PIR"), (as_form_of_zip, "LIA")])
def test_series__answers_equal_the_files_of_predict(tmp_path, bundle, highdicom, client, encode, orientation):
    scan = write_scan(tmp_path / "scan", orientation=orientation, angles=(0.1, 0, 0.2))
    assert call(["predict", str(bundle), str(scan), "--out", str(tmp_path / "out")]) == 0
    expected = tmp_path / "out" / "scan.nii.gz"
    response = post(client, encode(scan), {})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/gzip")
    assert response.content == expected.read_bytes()

    response = post(client, encode(scan), DICOM)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/dicom")
    image, labels = nib.load(expected), np.asarray(nib.load(expected).dataobj)
    dataset = dcmread(io.BytesIO(response.content))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert np.array_equal(labels_on(image, dataset), labels)
    assert (dataset.PatientID, dataset.StudyInstanceUID) == (PATIENT, STUDY)
    read = highdicom.seg.segread(io.BytesIO(response.content)).get_volume(combine_segments=True)
    assert np.array_equal(np.bincount(read.array.ravel())[1:], np.bincount(labels.ravel())[1:])

    (entry,) = post(client, encode(scan), JSON).json()["predictions"]
    assert entry["volumes_ml"]["organ"] == pytest.approx(np.count_nonzero(labels == 1) * 2e-3)


def missing(scan):
    next(path for path in scan.iterdir() if dcmread(path).ImagePositionPatient[2] == 11).unlink()


def doubled(scan):
    shutil.copy(scan / "000.dcm", scan / "copy.dcm")


def two_series(scan):
    dataset = dcmread(scan / "000.dcm")
    dataset.SeriesInstanceUID = STUDY
    dataset.save_as(scan / "000.dcm")


def truncated(scan):
    (scan / "000.dcm").write_bytes((scan / "000.dcm").read_bytes()[:-9])


def damaged(scan):
    (scan / "000.dcm").write_bytes((scan / "000.dcm").read_bytes()[:200])


def without_study(scan):
    for path in scan.iterdir():
        dataset = dcmread(path)
        del dataset.StudyInstanceUID
        dataset.save_as(path)


@pytest.mark.parametrize("encode", [as_form, as_zip])
@pytest.mark.parametrize("change", [missing, doubled, two_series, truncated, damaged, without_study])
def test_series__messages_equal_those_of_predict(tmp_path, bundle, highdicom, client, capsys, encode, change):
    scan = write_scan(tmp_path / "scan")
    change(scan)
    assert run(bundle, scan, tmp_path / "out") == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped "))
    response = post(client, encode(scan), DICOM)
    assert response.status_code == 422
    (entry,) = response.json()["detail"]
    reason = line.removeprefix(f"skipped {scan}: ").replace("Use --format nifti", "Request application/gzip")
    assert entry["error"] == reason
    assert str(tmp_path) not in response.text
    assert STUDY not in response.text


def test_series__of_more_than_64_slices_with_equal_names(tmp_path, client):
    values = tiny.draw((8, 8, 70))
    scan = write_scan(tmp_path / "scan", values)
    files = [("files", ("slice", path.read_bytes())) for path in scan.iterdir()]
    response = client.post("/predict", files=files)
    (tmp_path / "labels.nii.gz").write_bytes(response.content)
    labels = np.asarray(nib.load(tmp_path / "labels.nii.gz").dataobj)
    assert np.array_equal(labels[::-1, ::-1], tiny.expected_labels(values))


def test_upload__of_several_kinds_is_refused(tmp_path, client):
    scan = write_scan(tmp_path / "scan")
    nifti = write_nifti(tmp_path / "a.nii", tiny.draw(SHAPE), make_affine(tiny.SPACING)).read_bytes()
    dicom, archive = (scan / "000.dcm").read_bytes(), as_zip(scan)["content"]
    for contents, reason in (
        ([nifti, dicom], "0 is NIfTI, but 1 is DICOM. Send one volume per request"),
        ([dicom, dicom, archive], "0 is DICOM, but 2 is ZIP. Send one volume per request"),
        ([archive, archive], "2 ZIP archives; expected one with one DICOM series"),
        ([dicom, b"text"], "1: expected a NIfTI file, a DICOM file or a ZIP archive of a DICOM series"),
        ([dicom, b""], "1: the file is empty"),
        ([dicom], "one slice; expected a series of at least two slices"),
    ):
        files = [("files", (str(number), content)) for number, content in enumerate(contents)]
        response = client.post("/predict", files=files)
        assert (response.status_code, response.json()["detail"]) == (422, [{"name": "0", "error": reason}])


def test_dicom_seg__of_a_nifti_file_is_not_acceptable(tmp_path, highdicom, client):
    nifti = write_nifti(tmp_path / "a.nii", tiny.draw(SHAPE), make_affine(tiny.SPACING)).read_bytes()
    response = client.post("/predict", content=nifti, headers=DICOM)
    assert response.status_code == 406
    assert "the upload is NIfTI, and a DICOM-SEG refers to DICOM slices" in response.json()["detail"]


def test_dicom_seg__needs_the_extra(tmp_path, client, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    request = as_zip(write_scan(tmp_path / "scan"))
    response = post(client, request, DICOM)
    assert response.status_code == 501
    assert "because highdicom is not installed" in response.json()["detail"]
    assert post(client, request, {}).status_code == 200


def test_dicom_seg__has_the_codes_of_a_file(tmp_path, bundle, highdicom):
    codes = tmp_path / "codes.json"
    codes.write_text('{"organ": {"type": ["10200004", "SCT", "Liver"]}}')
    client = TestClient(create_app(VolumeBundle.load(bundle), codes=codes))
    dataset = dcmread(io.BytesIO(post(client, as_zip(write_scan(tmp_path / "scan")), DICOM).content))
    assert dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    codes.write_text("{}}")
    assert call(["serve", str(bundle), "--codes", str(codes)]) == 2


def test_upload__size_is_limited(tmp_path, bundle, monkeypatch):
    from medtune.serving.volumes import uploads, zip_series

    client, scan = TestClient(create_app(VolumeBundle.load(bundle), max_bytes=10_000)), write_scan(tmp_path / "scan")
    assert client.post("/predict", **as_form(scan)).status_code == 413

    def chunks():
        yield from [b"x" * 6_000] * 2

    assert client.post("/predict", content=chunks()).status_code == 413
    client = TestClient(create_app(VolumeBundle.load(bundle)))
    with monkeypatch.context() as patch:
        patch.setattr(zip_series, "MAX_UNPACKED_BYTES", 10_000)
        assert "the ZIP archive unpacks to" in post(client, as_zip(scan), {}).json()["detail"]
    monkeypatch.setattr(uploads, "MAX_VOXELS", 1000)
    response = client.post("/predict", **as_form(scan))
    assert response.status_code == 413
    assert "16 x 18 x 9 voxels; at most 1,000 are accepted" in response.text


def test_openapi__describes_requests_and_answers(client):
    operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert {"multipart/form-data", "application/zip", "application/gzip"} <= operation["requestBody"]["content"].keys()
    assert {"application/gzip", "application/dicom", "application/json"} == operation["responses"]["200"][
        "content"
    ].keys()
    assert {"406", "413", "422", "501", "507"} <= operation["responses"].keys()
