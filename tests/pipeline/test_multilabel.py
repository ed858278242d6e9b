"""Tests of a multilabel task with three findings, from images to predictions; no test image shows one finding."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import medtune
from medtune.cli.main import call
from medtune.tasks.multilabel.predictions import read_predictions

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("multilabel")]

SETTINGS = [
    "task.kind=multilabel", "schedule=staged", "model.head.kind=cdtm", "data.split.test_fold=1",
    "data.source=folder", "data.csv=labels.csv", "data.label_type=multi",
    "data.columns={labels: [bright, striped, rare], split: part}", "data.split.protocol=column", "data.image_size=32",
    "data.labels=null",
    "data.split.allow_missing_classes=true", "model.backbone_args={img_size: 32}", "frozen.epochs=4",
    "frozen.feature_views=1", "frozen.lr=0.003", "finetune.epochs=1", "tracking.mode=disabled",
]  # fmt: skip


def write_images(root: Path) -> None:
    """Write three images for each of 40 patients, of whom seven are external; one patient has images with `rare`."""
    rng = np.random.default_rng(0)
    splits = ["train"] * 15 + ["val"] * 9 + ["test"] * 9 + ["external"] * 7
    lines = ["path,group,part,bright,striped,rare"]
    for number in range(120):
        bright, striped, rare = rng.random() < 0.5, rng.random() < 0.4, number // 3 == 1
        pixels = rng.normal(80 + 90 * bright, 12, (32, 32, 3))
        pixels[::4] += 60 * striped
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"{number}.png")
        lines.append(f"{number}.png,P{number // 3},{splits[number // 3]},{int(bright)},{int(striped)},{int(rare)}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def multilabel_run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Run the pipeline and return its folder, prepared data and result."""
    folder = tmp_path_factory.mktemp("multilabel")
    (folder / "images").mkdir()
    write_images(folder / "images")
    sets = [setting for setting in SETTINGS if not setting.endswith("=null")]
    tree = medtune.load_params(sets=[*sets, f"data.root={folder / 'images'}"])
    prepared = medtune.prepare(tree, folder)
    return SimpleNamespace(folder=folder, prepared=prepared, result=medtune.train(tree, folder))


def test_run__prepares_findings(multilabel_run):
    assert multilabel_run.prepared.classes == ("bright", "striped", "rare")
    assert multilabel_run.prepared.counts["rare"] == 3
    assert sum(multilabel_run.prepared.counts.values()) > 120
    targets = np.load(multilabel_run.folder / "data" / "prepared" / "targets.npy")
    assert (targets.shape, targets.dtype, targets.sum(0)[2]) == ((120, 3), np.uint8, 3)


def test_run__learns_the_findings_and_names_the_finding_without_score(multilabel_run):
    metrics = json.loads((multilabel_run.folder / "artifacts" / "evaluate" / "metrics.json").read_text())
    bright, striped, rare = metrics["per_class"]
    assert bright["auroc"] > 0.9
    assert striped["auroc"] > 0.6
    assert bright["auroc_lo"] <= bright["auroc"] <= bright["auroc_hi"]
    assert (rare["auroc"], rare["reason"]) == (None, "no test image shows it")
    assert metrics["test"]["auroc"]["value"] == pytest.approx((bright["auroc"] + striped["auroc"]) / 2)
    assert any("No test image shows rare" in warning for warning in metrics["warnings"])
    assert metrics["test"]["auroc"]["value"] > metrics["baseline"]["auroc"]


def test_run__predictions_can_be_read(multilabel_run):
    evaluated = multilabel_run.folder / "artifacts" / "evaluate"
    predictions = read_predictions(evaluated / "predictions.csv")
    assert set(predictions.support) == {"bright", "striped", "rare"}
    with (evaluated / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(predictions.stats.patient_index)
    thresholds = json.loads((evaluated / "result.json").read_text())["folds"]["1"]["decision"]["thresholds"]
    for row in rows:
        findings = {name for name in thresholds if float(row[f"prob_{name}"]) >= thresholds[name]}
        assert set(row["prediction"].split("|")) == (findings or {"No Finding"})
        assert {name for name in thresholds if row[f"pred_{name}"] == "1"} == findings


def test_run__bundle_predictions_equal_the_evaluation(multilabel_run):
    bundle = medtune.Bundle.load(multilabel_run.folder / "artifacts" / "export")
    with (multilabel_run.folder / "artifacts" / "evaluate" / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))[:8]
    for row, prediction in zip(
        rows, bundle.predict([multilabel_run.folder / "images" / r["path"] for r in rows]), strict=True
    ):
        assert ("|".join(prediction.findings) or "No Finding") == row["prediction"]
        assert prediction.probabilities["bright"] == pytest.approx(float(row["prob_bright"]), abs=1e-3)
    assert set(multilabel_run.result.export.precisions) == {"fp32", "fp16"}
    card = multilabel_run.result.export.model_card.read_text()
    assert "Detects these findings" in card
    assert "`bright`" in card


def test_run__report_has_a_row_per_finding(multilabel_run):
    page = multilabel_run.result.evaluation.report.read_text()
    assert "no test image shows it" in page
    assert page.count("<img ") == 7


def test_run__report_has_a_section_for_external_images(multilabel_run):
    metrics = json.loads((multilabel_run.folder / "artifacts" / "evaluate" / "metrics.json").read_text())
    assert (metrics["external_test"]["n_images"], metrics["n_images"]) == (21, 27)
    page = multilabel_run.result.evaluation.report.read_text()
    assert "<h2>External" in page
    assert f"{metrics['external_test']['metrics']['auroc']['value']:.3f}" in page


def test_run__bundle_is_evaluated_on_external_images(multilabel_run, tmp_path):
    bundle, table = multilabel_run.folder / "artifacts" / "export", multilabel_run.folder / "images" / "labels.csv"
    output = ["--out", str(tmp_path / "external")]
    assert call(["evaluate", str(bundle), "--data", str(table), *output]) == 0
    metrics = json.loads((tmp_path / "external" / "metrics.json").read_text())
    assert metrics["external"]["images_by_class"]["rare"] == 3
    assert [row["positives"] for row in metrics["per_class"]][2] == 3
    assert metrics["per_class"][0]["auroc"] > 0.9
    predictions = read_predictions(multilabel_run.folder / "artifacts" / "evaluate" / "predictions.csv")
    assert metrics["n_images"] == 120 > predictions.stats.patient_index.size
    assert "of a bundle on external images" in (tmp_path / "external" / "report.html").read_text()
