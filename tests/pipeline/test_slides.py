"""Tests of slides, from files to predictions without torch: all counts and metrics refer to slides."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.data.manifest import load_prepared
from medtune.data.synthetic.slide import write_slide
from medtune.runtime.paths import RunPaths
from medtune.serving.bundle import Bundle
from medtune.serving.slides import tiling
from medtune.serving.slides.aggregate import calibrate, slide_probabilities
from medtune.serving.slides.tile_settings import TileSettings
from medtune.stages import data, evaluate, export, frozen, gate

# On one worker, so that the network is trained only once.
pytestmark = pytest.mark.xdist_group("slides")

CLASSES = ("scattered", "fibers", "clumps")
OPTIONS = [
    "schedule=frozen", "data.source=slides", "data.csv=labels.csv", "data.image_size=32",
    "data.tiles={size_um: 32.0, max_per_slide: 12}", "data.split={folds: 3, test_fold: 1}",
    "model={backbone: test_vit, weights: bundled, backbone_args: {img_size: 32}, head: {kind: linear}}",
    "frozen={epochs: 3, feature_views: 1, batch_size: 16, lr: 0.002}",
    "export={precisions: [fp32], parity_images: 30, batch_sizes: [1, 8]}", "tracking.mode=disabled",
]  # fmt: skip


def write_slides(root, patients=9):
    rows = ["path,label,group"]
    for number in range(2 * patients):
        patient = number // 2
        write_slide(root / f"s{number:02}.tif", number, side=512, kind=patient % 3)
        rows.append(f"s{number:02}.tif,{CLASSES[patient % 3]},P{patient}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    write_slides(folder / "raw")
    params = load(None, [f"data.root={folder / 'raw'}", *OPTIONS])
    paths = RunPaths(folder, folder / "cache")
    data.run(params, paths)
    for fold in range(3):
        frozen.run(params, paths, fold)
    evaluate.run(params, paths)
    export.run(params, paths)
    return params, paths, folder


def expected_probabilities(bundle, path):
    """Return the mean of three networks, each of which aggregates and calibrates the tiles of the slide."""
    kind, settings = bundle.manifest["aggregation"], TileSettings.from_document(bundle.manifest["tiles"])
    with tiling.open_slide(path, None, "") as (slide, mpp):
        plan = tiling.plan_tiles(slide, settings, mpp)
        tiles = np.stack([tiling.read_tile(slide, position, settings, plan.mpp) for position in plan.positions])
    tile_probabilities = bundle.run(tiles)
    assert tile_probabilities.shape[1] == 3
    probabilities = [
        calibrate(slide_probabilities(tile_probabilities[:, index], kind), member["temperature"])
        for index, member in enumerate(bundle.manifest["members"])
    ]
    return np.mean(probabilities, axis=0)


def read(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


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
    arguments = [str(paths.stage("export")), str(folder / "raw"), "--out", str(tmp_path / "p.csv")]
    code = (
        "import sys\nfrom medtune.cli.main import main\nsys.modules['torch'] = None\n"
        "sys.argv = ['medtune', 'predict', *sys.argv[1:]]\nmain()"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    row_by_slide = {row["path"].rpartition("/")[2]: row for row in read(tmp_path / "p.csv")}
    assert len(row_by_slide) == 18
    bundle = Bundle.load(paths.stage("export"))
    for name, row in row_by_slide.items():
        assert float(row["prob_clumps"]) == pytest.approx(
            expected_probabilities(bundle, folder / "raw" / name)[0], abs=1e-5
        )
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
