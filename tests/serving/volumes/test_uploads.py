"""Uploaded volumes: full disks, failing networks and damaged files, each without an effect on other requests."""

import gzip
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
from fastapi.testclient import TestClient

from medtune.serving.http import create_app
from medtune.serving.volumes.bundle import VolumeBundle
from tests.robustness.outages.disks import limited_files
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.clinical_series import PATIENT, STUDY, write_scan
from tests.serving.volumes.failing_bundle import FATAL_VALUE, write_failing_bundle
from tests.serving.volumes.volume_files import make_affine, write_nifti

SHAPE = (16, 18, 9)


@pytest.fixture
def client(tmp_path):
    return TestClient(create_app(VolumeBundle.load(write_failing_bundle(tmp_path / "bundle", "index"))))


def encode(folder, values):
    return write_nifti(folder / "upload.nii.gz", values, make_affine(tiny.SPACING)).read_bytes()


def labels(folder, response):
    (folder / "labels.nii.gz").write_bytes(response.content)
    return np.asarray(nib.load(folder / "labels.nii.gz").dataobj)


def check_served(folder, client):
    """Check that the service still segments volumes."""
    response = client.post("/predict", content=encode(folder, tiny.draw(SHAPE)))
    assert response.status_code == 200
    assert np.array_equal(labels(folder, response), tiny.expected_labels(tiny.draw(SHAPE)))


def check_refused(response, what, reason):
    assert response.status_code == 507
    assert response.headers["content-type"] == "application/json"
    text = response.json()["detail"]
    assert text.startswith(f"the service cannot store the {what}: ")
    assert reason in text
    assert "\n" not in text
    assert "medtune-volume" not in text


def test_serve__missing_temporary_folder(tmp_path, client, monkeypatch):
    content = encode(tmp_path, tiny.draw(SHAPE))
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "removed"))
        check_refused(client.post("/predict", content=content), "volume", "No such file or directory")
    check_served(tmp_path, client)


def test_serve__upload_that_cannot_be_written(tmp_path, client):
    content = encode(tmp_path, tiny.draw(SHAPE))
    with limited_files(1000):
        check_refused(client.post("/predict", content=content), "volume", "File too large")
    check_served(tmp_path, client)


def test_serve__label_map_that_cannot_be_written(tmp_path, client):
    """An upload that is smaller than its label map, because it is compressed better."""
    values = np.full((32, 32, 32), 50, np.int16)
    values[::3, ::5, ::7] = 200
    upload = write_nifti(tmp_path / "upload.nii", values, make_affine((1.0, 1.0, 2.0)))
    content = gzip.compress(upload.read_bytes(), 9)
    answer = client.post("/predict", content=content)
    assert answer.status_code == 200
    limit = len(content) + 100
    assert len(answer.content) > limit
    with limited_files(limit):
        check_refused(client.post("/predict", content=content), "label map", "File too large")
    check_served(tmp_path, client)


def test_serve__network_that_fails(tmp_path, client):
    values = tiny.draw(SHAPE)
    values[0, 0, 0] = FATAL_VALUE
    response = client.post("/predict", files={"file": ("scan.nii.gz", encode(tmp_path, values))})
    assert response.status_code == 500
    (entry,) = response.json()["detail"]
    assert entry["name"] == "scan.nii.gz"
    assert entry["error"].startswith("onnxruntime cannot run the model: ")
    assert "\n" not in entry["error"]
    check_served(tmp_path, client)


def test_serve__damaged_volumes_do_not_affect_concurrent_requests(tmp_path, client):
    fatal = tiny.draw(SHAPE)
    fatal[0, 0, 0] = FATAL_VALUE
    intact = [encode(tmp_path, tiny.draw(SHAPE, seed)) for seed in range(3)]
    requests = [(content, 200) for content in intact] * 2
    requests += [(intact[0][:-200], 422), (b"no volume", 422), (encode(tmp_path, fatal), 500)] * 2
    order = np.random.default_rng(0).permutation(len(requests)).tolist()
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda k: client.post("/predict", content=requests[k][0]), order))
    for k, answer in zip(order, answers, strict=True):
        content, status = requests[k]
        assert answer.status_code == status
        if status == 200:
            assert np.array_equal(
                labels(tmp_path, answer), tiny.expected_labels(tiny.draw(SHAPE, intact.index(content)))
            )


def damage(rng, content):
    """Flip bytes, remove some, or overwrite a length."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        place = int(rng.integers(128, len(damaged)))
        match rng.integers(3):
            case 0:
                damaged[place] = rng.integers(256)
            case 1:
                del damaged[place : place + int(rng.integers(1, 9))]
            case _:
                damaged[place : place + 4] = b"\xff" * 4
    return bytes(damaged)


@pytest.mark.parametrize("accept", ["application/dicom", "*/*"])
def test_serve__damaged_slices_are_refused_in_one_line(tmp_path, bundle, highdicom, accept):
    client, rng = TestClient(create_app(VolumeBundle.load(bundle))), np.random.default_rng(0)
    slices = [path.read_bytes() for path in sorted(write_scan(tmp_path / "scan", tiny.draw((8, 8, 4))).iterdir())]
    statuses = Counter()
    for _ in range(40):
        files = [("files", ("slice", content)) for content in [*slices[:-1], damage(rng, slices[-1])]]
        response = client.post("/predict", files=files, headers={"accept": accept})
        statuses[response.status_code] += 1
        if response.status_code == 200:
            continue
        (entry,) = response.json()["detail"]
        assert len(entry["error"].splitlines()) == 1
        assert not any(text in entry["error"] for text in ("Müller", PATIENT, STUDY, "medtune-volume"))
    assert statuses.keys() == {200, 422}
    check_served(tmp_path, client)
