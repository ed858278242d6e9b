"""`medtune predict`, `verify` and `serve` for volumes, also without torch, MONAI and SciPy."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from fastapi.testclient import TestClient

from medtune.cli.main import call
from medtune.serving.http import create_app
from medtune.serving.volumes.bundle import VolumeBundle
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.slim_process import predict_slim
from tests.serving.volumes.volume_files import make_affine, write_nifti, write_series

AFFINE = make_affine(tiny.SPACING, (0.1, 0, 0))


@pytest.fixture
def scans(tmp_path):
    """Write two volumes and a text file."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for index, name in enumerate(("a.nii.gz", "b.nii")):
        write_nifti(folder / name, tiny.draw((16, 18, 9), index), AFFINE)
    (folder / "notes.txt").write_text("no volume")
    return folder


def table(out):
    with (out / "volumes.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_command__writes_label_maps_and_the_table(tmp_path, bundle, scans, capsys):
    out = tmp_path / "out"
    assert call(["predict", str(bundle), str(scans), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"a.nii.gz", "b.nii.gz", "volumes.csv"}
    for index, (row, name) in enumerate(zip(table(out), ("a.nii.gz", "b.nii"), strict=True)):
        expected = tiny.expected_labels(tiny.draw((16, 18, 9), index))
        written, source = nib.load(out / f"{name[0]}.nii.gz"), nib.load(scans / name)
        assert np.array_equal(np.asarray(written.dataobj), expected)
        assert np.array_equal(written.header["qform_code"], source.header["qform_code"])
        assert row["path"] == (scans / name).as_posix()
        assert float(row["ml_organ"]) == pytest.approx((expected == 1).sum() * 2e-3, rel=1e-4)
        assert float(row["uncertainty_lesion"]) > 0
        assert row["flags"] == ""
        assert float(row["seconds"]) >= 0
    messages = capsys.readouterr().err
    assert "segments organ, lesion in CT at 1 x 1 x 2 mm" in messages
    assert "2 volumes in" in messages


def test_command__broken_volumes_are_skipped_with_exit_code_1(tmp_path, bundle, scans, capsys):
    (scans / "broken.nii").write_bytes(b"\0" * 400)
    write_nifti(scans / "nan.nii", np.full((4, 4, 4), np.nan, np.float32), AFFINE)
    out = tmp_path / "out"
    assert call(["predict", str(bundle), str(scans), "--out", str(out)]) == 1
    assert len(table(out)) == 2
    messages = capsys.readouterr().err
    assert f"skipped {scans / 'nan.nii'}: voxels are NaN or infinite" in messages
    assert f"skipped {scans / 'broken.nii'}: " in messages
    assert "2 skipped" in messages


def test_command__channels_series_and_json(tmp_path, scans, capsys):
    pair = tiny.write_bundle(tmp_path / "pair", ("T1", "T2"))
    for index in range(2):
        write_nifti(tmp_path / f"P_000{index}.nii.gz", tiny.draw((16, 16, 8), index), make_affine(tiny.SPACING))
    out = tmp_path / "out"
    both = f"{tmp_path / 'P_0000.nii.gz'},{tmp_path / 'P_0001.nii.gz'}"
    assert call(["predict", str(pair), str(tmp_path / "P_0000.nii.gz"), "--out", str(out), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["path"] == both
    assert set(entry["volumes_ml"]) == {"organ", "lesion"}
    first = (out / "P.nii.gz").read_bytes()
    assert call(["predict", str(pair), both, "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "P_0000.nii.gz").read_bytes() == first
    series = write_series(tmp_path / "series", tiny.draw((16, 18, 9)).astype(np.int16), make_affine(tiny.SPACING))
    single = tiny.write_bundle(tmp_path / "single")
    assert call(["predict", str(single), str(series), "--out", str(out)]) == 0
    assert np.asarray(nib.load(out / "series.nii.gz").dataobj).max() == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{scans}"], "--out: missing"),
        (["{scans}", "--out", "{scans}"], "a.nii.gz is an input. Use another folder"),
        (["{scans}/absent.nii", "--out", "{out}"], "absent.nii does not exist"),
        (["{scans}/a.nii.gz,{scans}/absent.nii", "--out", "{out}"], "absent.nii does not exist"),
        (["{scans}/a.nii.gz", "--out", "{out}" + 300 * "x"], "--out={out}" + 300 * "x" + ": cannot be created"),
        (["{scans}", "--out", "{out}", "--mpp", "1"], "--mpp=1.0"),
        (["{scans}", "--out", "{out}", "--provider", "tensorrt"], "provider=tensorrt: not supported for segmentation"),
    ],
)  # fmt: skip
def test_command__errors_are_one_line_with_exit_code_2(tmp_path, bundle, scans, capsys, arguments, message):
    before = (scans / "a.nii.gz").read_bytes()
    names = {"scans": scans, "out": tmp_path / "out"}
    assert call(["predict", str(bundle), *(argument.format(**names) for argument in arguments)]) == 2
    assert message.format(**names) in capsys.readouterr().err
    assert (scans / "a.nii.gz").read_bytes() == before


def test_verify__checks_the_bundle(bundle, capsys):
    assert call(["verify", str(bundle)]) == 0
    assert "segments organ, lesion" in capsys.readouterr().out
    (bundle / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes() + b"\0")
    assert call(["verify", str(bundle)]) == 2
    assert "model.onnx is damaged" in capsys.readouterr().err


def test_predict__works_without_any_other_package(tmp_path, bundle, scans):
    assert predict_slim(bundle, scans, tmp_path / "out") > 0
    assert len(table(tmp_path / "out")) == 2


def test_serve__returns_the_label_map_or_json(tmp_path, bundle, scans):
    client = TestClient(create_app(VolumeBundle.load(bundle), max_bytes=100_000))
    content = (scans / "a.nii.gz").read_bytes()
    response = client.post("/predict", content=content)
    assert response.status_code == 200
    (tmp_path / "labels.nii.gz").write_bytes(response.content)
    labels = nib.load(tmp_path / "labels.nii.gz")
    assert np.array_equal(np.asarray(labels.dataobj), tiny.expected_labels(tiny.draw((16, 18, 9))))
    assert np.array_equal(labels.affine, nib.load(scans / "a.nii.gz").affine)
    answer = client.post("/predict", files={"file": ("a.nii.gz", content)}, headers={"accept": "application/json"})
    (entry,) = answer.json()["predictions"]
    assert entry["name"] == "a.nii.gz"
    assert entry["volumes_ml"]["organ"] > 0
    assert client.get("/metadata").json()["volumes"]["channels"] == ["CT"]


@pytest.mark.parametrize(("content", "status"), [(b"no volume", 422), (b"", 422), (b"x" * 200_000, 413)])
def test_serve__refuses_invalid_requests(bundle, content, status):
    client = TestClient(create_app(VolumeBundle.load(bundle), max_bytes=100_000))
    response = client.post("/predict", content=content)
    assert response.status_code == status
    assert "medtune-volume" not in response.text


def test_serve__refuses_several_volumes_and_too_many_voxels(bundle, scans, monkeypatch):
    from medtune.serving.volumes import uploads

    client = TestClient(create_app(VolumeBundle.load(bundle)))
    content = (scans / "a.nii.gz").read_bytes()
    assert client.post("/predict", files=[("f", ("a.nii", content)), ("f", ("b.nii", content))]).status_code == 413
    monkeypatch.setattr(uploads, "MAX_VOXELS", 1000)
    response = client.post("/predict", content=content)
    assert response.status_code == 413
    assert "16 x 18 x 9 voxels; at most 1,000 are accepted" in response.text


def test_serve__refuses_a_small_file_that_is_large_after_resampling(bundle, tmp_path):
    file = write_nifti(tmp_path / "coarse.nii.gz", tiny.draw((16, 16, 16)), make_affine((60.0, 60.0, 60.0)))
    response = TestClient(create_app(VolumeBundle.load(bundle))).post("/predict", content=file.read_bytes())
    assert response.status_code == 413
    assert "are accepted" in response.text
