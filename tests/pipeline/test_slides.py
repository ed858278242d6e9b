"""Tests of slides, from files to predictions without torch: all counts and metrics refer to slides."""

import json

import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.data.manifest import load_prepared
from medtune.runtime.paths import RunPaths
from medtune.stages import data, gate
from tests.pipeline.slide_world import CLASSES, OPTIONS, check_prediction_without_torch, read, run_stages, write_slides

# On one worker, so that the network is trained only once.
pytestmark = pytest.mark.xdist_group("slides")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return run_stages(tmp_path_factory.mktemp("slides"), OPTIONS)


@pytest.mark.slow
def test_data__slide_and_patient_are_in_one_split(world):
    _, paths, _ = world
    prepared, report = load_prepared(paths.prepared), json.loads((paths.prepared / "report.json").read_text())
    assert len(report["slides"]) == report["n_kept"] == prepared.info["n_slides"] == 18
    assert prepared.info["counts"]["all"] == dict.fromkeys(sorted(CLASSES), 6)
    assert len(prepared.paths) == sum(entry["tiles"] for entry in report["slides"]) == prepared.info["n_images"]
    for column in range(3):
        for ids in (prepared.slide_of_tile, prepared.patient_ids.tolist()):
            pairs = set(zip(ids, prepared.splits[:, column].tolist(), strict=True))
            assert len(pairs) == len(set(ids))
    assert all((paths.prepared / entry["overview"]).is_file() for entry in report["slides"])


@pytest.mark.slow
def test_evaluate__metrics_refer_to_slides(world):
    _, paths, _ = world
    metrics = json.loads((paths.stage("evaluate") / "metrics.json").read_text())
    rows = read(paths.stage("evaluate") / "predictions.csv")
    assert metrics["unit"] == "slides"
    assert metrics["n_images"] == len(rows) == len({row["path"] for row in rows}) == 6
    assert metrics["n_patients"] == 3
    n_correct = sum(row["label"] == row["prediction"] for row in rows)
    assert metrics["test"]["accuracy"]["value"] == pytest.approx(n_correct / 6)
    assert "Images are slides" in (paths.stage("evaluate") / "report.html").read_text()


@pytest.mark.slow
def test_predict__equals_the_ensemble_without_torch(world, tmp_path):
    _, paths, folder = world
    check_prediction_without_torch(paths.stage("export"), folder / "raw", tmp_path / "p.csv")
    document = json.loads((paths.stage("export") / "bundle.json").read_text())
    assert document["tiles"]["size_um"] == 32.0
    assert document["parity"]["fp32"]["consumer"]["max_abs_diff"] < 1e-5
    assert document["data"]["counts"]["fibers"]["all"] == 6


@pytest.mark.slow
def test_gate__counts_slides(world):
    params, paths, _ = world
    assert gate.run(params, paths, None).n_images == 18  # slides of every patient


@pytest.mark.slow
def test_data__slide_of_two_patients_is_rejected(tmp_path):
    write_slides(tmp_path / "raw")
    (tmp_path / "raw" / "s00.tif").replace(tmp_path / "raw" / "s04.tif")
    (tmp_path / "raw" / "s00.tif").write_bytes((tmp_path / "raw" / "s04.tif").read_bytes())
    params = load(None, [f"data.root={tmp_path / 'raw'}", *OPTIONS])
    with pytest.raises(InputError, match="identical slides belong to different patients"):
        data.run(params, RunPaths(tmp_path, tmp_path / "cache"))
