"""Tests of the protocols column (with an external test set) and site, from the table to the bundle."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from medtune.config.load import load
from medtune.data.manifest import load_prepared
from medtune.runtime.artifact import find_artifact
from medtune.runtime.paths import RunPaths
from medtune.serving.bundle import Bundle
from medtune.serving.members import REFIT
from medtune.stages import data, evaluate, export, frozen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
OPTIONS = (
    "schedule=frozen", "data.source=folder", "data.csv=labels.csv", "data.positive=dark", "data.image_size=32",
    "model={backbone: test_vit, weights: bundled, backbone_args: {img_size: 32}, head: {kind: linear}}",
    "frozen={epochs: 2, feature_views: 1, batch_size: 16, lr: 0.01}",
    "export={precisions: [fp32], parity_images: 8, batch_sizes: [1, 8]}", "tracking.mode=disabled",
)  # fmt: skip
SPLIT = {0: "test", 1: "test", 2: "external", 3: "external", 4: "External"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write two images for each of 18 patients; patients 0 to 8 are at site A."""
    folder, rng = tmp_path_factory.mktemp("splits") / "raw", np.random.default_rng(0)
    folder.mkdir()
    rows = ["path,label,group,split,site"]
    for patient in range(18):
        for number in range(2):
            name = f"{patient}_{number}.png"
            pixels = rng.integers(0, 100, (32, 32, 3)) + 120 * (patient % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
            label = ("dark", "light")[patient % 2]
            rows.append(f"{name},{label},P{patient},{SPLIT.get(patient, 'train')},{'AB'[patient > 8]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def run(root, name, *sets):
    params = load(None, [*OPTIONS, f"data.root={root}", *sets])
    paths = RunPaths(root.parent / name, root.parent / "cache")
    data.run(params, paths)
    for fold in params.trained_networks:
        frozen.run(params, paths, fold)
    evaluated = evaluate.run(params, paths)
    return params, paths, evaluated, json.loads((evaluated.folder / "metrics.json").read_text())


def test_column__external_images_have_separate_metrics_and_are_not_used_for_training(root, capsys):
    params, paths, evaluated, metrics = run(root, "column", "data.split.protocol=column")
    prepared = load_prepared(paths.prepared)
    external_paths = {prepared.paths[row] for row in prepared.external_indices(1)}
    assert {path.split("_")[0] for path in external_paths} == {"2", "3", "4"}
    with (evaluated.folder / "predictions_external.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["path"] for row in rows} == external_paths
    external = metrics["external_test"]
    assert (external["n_images"], external["n_patients"], metrics["n_images"]) == (6, 3, 4)
    hits = {label: [row["prediction"] == label for row in rows if row["label"] == label] for label in ("dark", "light")}
    assert external["metrics"]["sensitivity"]["value"] == pytest.approx(np.mean(hits["dark"]))
    assert external["metrics"]["specificity"]["value"] == pytest.approx(np.mean(hits["light"]))
    assert "External test images" in (evaluated.folder / "report.html").read_text()
    assert "external: balanced accuracy" in capsys.readouterr().out
    bundle = export.run(params, paths).folder
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "External test images, never used for training or selection: 6 images of 3 patients." in card
    document = json.loads((bundle / "bundle.json").read_text())
    assert document["classes"] == ["light", "dark"]
    assert document["positive"] == "dark"


def test_column__refit_predicts_external_images_without_training_on_them(root):
    params, paths, evaluated, metrics = run(root, "refit", "data.split.protocol=column", "final=refit")
    assert metrics["final"]["kind"] == "refit"
    refit_result = find_artifact(paths.stage("frozen", REFIT)).result()
    assert refit_result["images"] == {"train": 30, "val": 0}  # test images are included, external images are not
    bundle = Bundle.load(export.run(params, paths).folder)
    with (evaluated.folder / "predictions_external.csv").open(newline="") as stream:
        evaluated_probabilities = {row["path"]: float(row["prob_dark"]) for row in csv.DictReader(stream)}
    prepared = load_prepared(paths.prepared)
    rows = prepared.external_indices(REFIT)
    assert {prepared.paths[row] for row in rows} == set(evaluated_probabilities) != set()
    probabilities = bundle.run(np.ascontiguousarray(prepared.images[rows]))[:, 1]
    assert probabilities == pytest.approx([evaluated_probabilities[prepared.paths[row]] for row in rows], abs=1e-4)


def test_site__reports_metrics_per_site(root, capsys):
    sets = ("data.split={protocol: site, folds: 2, test_fold: all}", "evaluate.by=[site]")
    table = root / "labels.csv"
    text = table.read_text()
    table.write_text(
        "\n".join(",".join(line.split(",")[:3] + line.split(",")[4:]) for line in text.splitlines()) + "\n"
    )
    try:
        *_, metrics = run(root, "site", *sets)
    finally:
        table.write_text(text)
    assert [(fold["site"], fold["n_images"]) for fold in metrics["folds"]] == [("A", 18), ("B", 18)]
    assert metrics["n_images"] == 36
    (by_site,) = metrics["subgroups"]
    assert [entry["value"] for entry in by_site["subgroups"]] == ["A", "B"]
    printed = capsys.readouterr().out
    assert "evaluate: site A: balanced accuracy" in printed
