"""Synthetic slides, networks that classify them, and their predictions without torch."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.data.synthetic.slide import write_slide
from medtune.runtime.paths import RunPaths
from medtune.serving.bundle import Bundle
from medtune.serving.slides import tiling
from medtune.serving.slides.aggregate import calibrate, slide_probabilities
from medtune.serving.slides.tile_settings import TileSettings
from medtune.stages import data, evaluate, export, frozen

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


def run_stages(folder, options):
    """Write slides to folder/raw, train three networks on them, and run all further stages."""
    write_slides(folder / "raw")
    params = load(None, [f"data.root={folder / 'raw'}", *options])
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


def check_prediction_without_torch(bundle, slides, table, *options):
    """Check that `medtune predict` without torch returns the mean of the networks, and return its rows by slide."""
    code = (
        "import sys\nfrom medtune.cli.main import main\nsys.modules['torch'] = None\n"
        "sys.argv = ['medtune', 'predict', *sys.argv[1:]]\nmain()"
    )
    arguments = [str(bundle), str(slides), "--out", str(table), *options]
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    row_by_slide = {row["path"].rpartition("/")[2]: row for row in read(table)}
    assert len(row_by_slide) == 18
    loaded = Bundle.load(bundle)
    for name, row in row_by_slide.items():
        assert float(row["prob_clumps"]) == pytest.approx(expected_probabilities(loaded, slides / name)[0], abs=1e-5)
    return row_by_slide
