"""Tests of slides with attention pooling of tiles, from files to predictions without torch."""

import json

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.data.manifest import load_prepared
from medtune.data.slide_dataset import by_slide
from medtune.runtime.paths import RunPaths
from medtune.serving.bundle import Bundle
from medtune.serving.http import predict_uploads
from medtune.serving.slides.aggregate import attention_weights, calibrate, slide_probabilities
from medtune.serving.slides.predict import predict_slide
from medtune.stages import frozen, gate
from tests.pipeline.slide_world import CLASSES, OPTIONS, check_prediction_without_torch, read, run_stages

ATTENTION = [
    *OPTIONS,
    "model.head={kind: attention_mil, hidden: 16}", "frozen={epochs: 6, feature_views: 2, batch_size: 3, lr: 0.003}",
    "export={precisions: [fp32, fp16], parity_images: 30, batch_sizes: [1, 8]}",
]  # fmt: skip

# On one worker, so that the network is trained only once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slides-attention")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return run_stages(tmp_path_factory.mktemp("slides"), ATTENTION)


@pytest.fixture(scope="module")
def bundle(world):
    return Bundle.load(world[1].stage("export"))


def test_frozen__rows_are_slides_and_features_are_computed_once(world, capsys):
    _, paths, folder = world
    record = json.loads((paths.stage("frozen", 1) / "result.json").read_text())
    assert record["images"] == {"train": 6, "val": 6}
    assert record["stored_features"] is True
    assert record["layout"] == len(CLASSES)
    changed = load(None, [f"data.root={folder / 'raw'}", *ATTENTION, "frozen.lr=0.001"])
    frozen.run(changed, RunPaths(folder / "other", folder / "cache", data=paths.prepared))
    assert "features: read from the cache" in capsys.readouterr().out


def test_frozen__features_over_the_cache_limit_are_rejected(world):
    _, paths, folder = world
    params = load(None, [f"data.root={folder / 'raw'}", *ATTENTION, "frozen.feature_cache_gb=0"])
    with pytest.raises(InputError, match=r"frozen\.feature_cache_gb=0: .* head attention_mil requires cached features"):
        frozen.run(params, RunPaths(folder / "limit", folder / "cache", data=paths.prepared))


def test_evaluate__slide_probabilities_are_weighted_by_attention(world):
    _, paths, _ = world
    slides = by_slide(load_prepared(paths.prepared))
    logits = np.load(paths.stage("evaluate") / "logits.npz")
    tiles, rows = logits["fold1_test_logits"], logits["fold1_test_rows"]
    temperature = json.loads((paths.stage("evaluate") / "calibration.json").read_text())["folds"]["1"]["temperature"]
    predictions = read(paths.stage("evaluate") / "predictions.csv")
    assert len(predictions) == 6
    for row in predictions:
        slide_tiles = tiles[slides.slide_index[rows] == slides.paths.index(row["path"])]
        expected = calibrate(slide_probabilities(slide_tiles, "attention"), temperature)
        stored_probabilities = [float(row[f"prob_{name}"]) for name in slides.classes]
        np.testing.assert_allclose(stored_probabilities, expected, atol=1e-6)


def test_export__bundle_records_the_aggregation_and_parity(world):
    _, paths, _ = world
    document = json.loads((paths.stage("export") / "bundle.json").read_text())
    assert document["aggregation"] == "attention"
    assert document["output"] == {
        "name": "members", "dtype": "float32", "shape": ["N", 3, len(CLASSES) + 1],
    }  # fmt: skip
    assert document["parity"]["fp32"]["max_abs_diff_slides"] < 1e-5
    assert document["parity"]["fp32"]["consumer"]["max_abs_diff"] < 1e-5
    assert document["precisions"]["fp16"]["shipped"] is True
    assert "attention-weighted mean" in (paths.stage("export") / "MODEL_CARD.md").read_text()


def test_predict__equals_the_ensemble_without_torch(world, tmp_path):
    _, paths, folder = world
    options = ("--tiles", str(tmp_path / "t.csv"))
    rows = check_prediction_without_torch(paths.stage("export"), folder / "raw", tmp_path / "p.csv", *options)
    tiles = read(tmp_path / "t.csv")
    assert list(tiles[0]) == ["path", "x", "y", *(f"prob_{name}" for name in sorted(CLASSES)), "attention"]
    for name, row in rows.items():
        attention = [float(tile["attention"]) for tile in tiles if tile["path"].endswith(name)]
        assert len(attention) == int(row["tiles"])
        assert sum(attention) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_predict_slide__batch_size_and_interface_do_not_change_the_result(world, bundle, batch_size):
    path = world[2] / "raw" / "s03.tif"
    one_batch = predict_slide(bundle, path, 64)
    batched = predict_slide(bundle, path, batch_size)
    np.testing.assert_allclose(batched.row[1 : 1 + len(CLASSES)], one_batch.row[1 : 1 + len(CLASSES)], atol=1e-5)
    np.testing.assert_allclose(batched.attention, one_batch.attention, atol=1e-5)
    (uploaded,) = predict_uploads(bundle, [("s03.tif", path.read_bytes())])
    (returned,) = bundle.predict(str(path))
    expected = dict(zip(sorted(CLASSES), one_batch.row[1 : 1 + len(CLASSES)], strict=True))
    assert uploaded["probabilities"] == pytest.approx(expected, abs=1e-5)
    assert returned.probabilities == pytest.approx(expected, abs=1e-5)


def test_bundle__returns_logits_and_attention_scores_of_tiles(bundle):
    tiles = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    outputs = bundle.run(tiles)
    assert outputs.shape == (4, 3, len(CLASSES) + 1)
    assert attention_weights(outputs[:, 0]).sum() == pytest.approx(1)
    assert bundle.self_test() < 1e-5


def test_gate__counts_slides(world):
    params, paths, _ = world
    assert gate.run(params, paths, None).n_images == 18  # slides of every patient
