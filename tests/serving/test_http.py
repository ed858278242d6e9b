import builtins
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from medtune.cli.main import call
from medtune.serving import http as serve
from medtune.serving.bundle import Bundle
from medtune.serving.volumes.bundle import VolumeBundle
from tests.serving.volumes.tiny_volume_bundle import write_bundle as write_volume_bundle

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def client(bundle_folder):
    return TestClient(serve.create_app(Bundle.load(bundle_folder), max_bytes=100_000, max_images=3))


def test_predict__accepts_an_image_as_the_body(client, image_folder, bundle_folder):
    response = client.post(
        "/predict", content=(image_folder / "b.png").read_bytes(), headers={"content-type": "image/png"}
    )
    assert response.status_code == 200
    (entry,) = response.json()["predictions"]
    bundle = Bundle.load(bundle_folder)
    expected = bundle.run(bundle.prepare(image_folder / "b.png")[None])
    np.testing.assert_allclose([entry["probabilities"][name] for name in ("blue", "red")], expected[0], atol=1e-6)
    assert entry["prediction"] == bundle.decide(expected)[0]


def test_predict__reports_an_invalid_file_among_several(client, image_folder):
    names = ["b.png", "deep/e.jpg", "notes.txt"]
    files = [("files", (name, (image_folder / name).read_bytes())) for name in names]
    response = client.post("/predict", files=files)
    assert response.status_code == 200
    entries = response.json()["predictions"]
    assert [entry["name"] for entry in entries] == names
    assert ["prediction" in entry for entry in entries] == [True, True, False]
    assert entries[2]["error"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"content": b"no image"}, 422),
        ({"content": b""}, 422),
        ({"content": b"x" * 200_000}, 413),
        ({"files": [("f", (f"{i}.png", b"x")) for i in range(4)]}, 413),
        ({"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400),
        ({"data": {"note": "x"}, "files": [("f", (None, b"x"))]}, 400),
    ],
)
def test_predict__rejects_invalid_requests(client, request_, status):
    assert client.post("/predict", **request_).status_code == status


def test_metadata_and_healthz__describe_the_bundle(client):
    assert client.get("/healthz").json() == {
        "status": "ok",
        "precision": "fp32",
        "providers": ["CPUExecutionProvider"],
    }
    assert client.get("/metadata").json()["classes"] == ["blue", "red"]


def test_create_app__error_names_the_package_to_install(bundle_folder, monkeypatch, capsys):
    original_import = builtins.__import__

    def import_without_extra(name, *arguments, **options):
        if name.startswith(("fastapi", "uvicorn")):
            raise ImportError(name)
        return original_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", import_without_extra)
    assert call(["serve", str(bundle_folder)]) == 2
    assert 'pip install "medtune[serve]"' in capsys.readouterr().err


def test_metadata__omits_patients_of_older_bundles(tmp_path, by_hand):
    folder = by_hand.write(tmp_path / "old", data={"n_images": 2, "leaked_patients": ["Miller"]})
    response = TestClient(serve.create_app(Bundle.load(folder))).get("/metadata")
    assert response.json()["data"] == {"n_images": 2}
    assert "Miller" not in response.text


def test_command__connections_above_the_limit_get_503(bundle_folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "medtune",
        "serve",
        str(bundle_folder),
        "--port",
        str(port),
        "--max-connections",
        "1",
    ]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL) as process:
        try:
            url, end = f"http://127.0.0.1:{port}/healthz", time.monotonic() + 60
            while True:
                try:
                    assert httpx.get(url).status_code == 200
                    break
                except httpx.TransportError:
                    assert time.monotonic() < end
                    time.sleep(0.2)
            with socket.create_connection(("127.0.0.1", port)):
                time.sleep(0.5)
                assert httpx.get(url).status_code == 503
        finally:
            process.terminate()


def test_openapi__describes_the_request_body(client):
    body = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
    assert {"multipart/form-data", "image/*", "application/dicom"} <= body["content"].keys()


def test_command__codes_need_a_bundle_for_volumes(bundle_folder, capsys):
    assert call(["serve", str(bundle_folder), "--codes", "codes.json"]) == 2
    assert f"--codes=codes.json: {bundle_folder} does not segment volumes" in capsys.readouterr().err


def test_default_max_bytes__is_larger_for_volumes(tmp_path, bundle_folder):
    assert serve.default_max_bytes(Bundle.load(bundle_folder)) == 64 << 20
    assert serve.default_max_bytes(VolumeBundle.load(write_volume_bundle(tmp_path / "bundle"))) == 512 << 20
