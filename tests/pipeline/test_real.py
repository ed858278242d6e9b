"""Tests of the pipeline on real images with ImageNet weights: new patients and effects of the split."""

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file

from medtune.config import load
from medtune.config.schema import Params
from medtune.data.manifest import load_prepared
from medtune.flows import pipeline
from medtune.runtime.paths import RunPaths
from medtune.serving.bundle import Bundle
from medtune.stages import data, evaluate, frozen
from medtune.stages.steps import Steps

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.timeout(900), pytest.mark.xdist_group("real")]

PROJECT = Path(__file__).resolve().parent.parent.parent
# Small images have a twelfth of the tokens, which is sufficient to compare splits.
SMALL_SIZE = ["data.image_size=64", "model.backbone_args={img_size: 64}"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return a feature cache for all tests of this module, so that each image passes the backbone once."""
    return tmp_path_factory.mktemp("cache")


def prepare(recipe: str, out: Path, cache: Path, *sets: str) -> tuple[Params, RunPaths]:
    """Prepare the data of `recipe`, with small settings for the following stages."""
    small = ["frozen.feature_views=1", "frozen.lr=1.0e-3", "tracking.mode=disabled",
             "export.precisions=[fp32]", "export.parity_images=32"]  # fmt: skip
    params: Params = load.load(PROJECT / "recipes" / recipe, [*small, *sets])
    paths = RunPaths(out, cache)
    data.run(params, paths)
    return params, paths


def run(recipe: str, out: Path, cache: Path, *sets: str) -> RunPaths:
    """Run the complete pipeline of `recipe`."""
    params, paths = prepare(recipe, out, cache, *sets)
    pipeline.run_directly(Steps(params, paths))
    return paths


def run_without_export(recipe: str, out: Path, cache: Path, *sets: str) -> RunPaths:
    """Train the head of every fold of `recipe` and evaluate them."""
    params, paths = prepare(recipe, out, cache, *sets)
    for fold in params.data.split.trained_folds:
        frozen.run(params, paths, fold)
    evaluate.run(params, paths)
    return paths


def vit(shared: Path, *sets: str) -> list[str]:
    weights = shared / "weights" / "deit_tiny_patch16_224.safetensors"
    return [f"data.root={shared / 'breakhis200x'}", f"model.weights={weights}", *sets]


def metric_values(paths: RunPaths) -> dict[str, float]:
    metrics = json.loads((paths.stage("evaluate") / "metrics.json").read_text())["test"]
    return {name: interval["value"] for name, interval in metrics.items()}


@pytest.fixture(scope="module")
def binary(shared, tmp_path_factory, cache):
    """Classify benign and malignant images, split by patient, in all folds with the default head."""
    return run("breakhis-binary-vit.yaml", tmp_path_factory.mktemp("binary"), cache, *vit(shared))


def test_binary__separates_classes_of_new_patients_including_the_minority(binary):
    values = metric_values(binary)
    assert values["auroc"] >= 0.90
    assert values["balanced_accuracy"] >= 0.75
    metrics = json.loads((binary.stage("evaluate") / "metrics.json").read_text())
    assert metrics["n_images"] == 305
    assert metrics["n_patients"] == 31
    assert all(metrics["test"][name]["lo"] < metrics["test"][name]["hi"] for name in ("auroc", "balanced_accuracy"))


def test_binary__bundle_reproduces_the_predictions(binary, shared):
    bundle = binary.stage("export")
    prepared = load_prepared(binary.prepared)
    rows = prepared.indices(1)["test"]
    test_paths = {prepared.paths[row] for row in rows}
    images = binary.out / "tested"
    images.mkdir()
    for path in test_paths:
        shutil.copy(shared / "breakhis200x" / path, images)
    out = binary.out / "predictions.csv"
    command = [
        sys.executable,
        "-m",
        "medtune",
        "predict",
        str(bundle),
        str(images),
        "--out",
        str(out),
    ]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    evaluated = {row["path"]: row for row in csv.DictReader((binary.stage("evaluate") / "predictions.csv").open())}
    predicted = {Path(row["path"]).name: row for row in csv.DictReader(out.open())}
    assert len(predicted) == len(test_paths) >= 30
    loaded = Bundle.load(bundle)
    member_probabilities = loaded.run_members(np.ascontiguousarray(prepared.images[rows]))
    for row, probabilities in zip(rows, member_probabilities, strict=True):
        path = prepared.paths[row]
        assert abs(float(evaluated[path]["prob_malignant"]) - probabilities[1, 1]) <= 1e-4  # the network of fold 1
        assert abs(float(predicted[Path(path).name]["prob_malignant"]) - probabilities[:, 1].mean()) <= 1e-4


@pytest.mark.nightly
def test_leak__image_split_raises_balanced_accuracy_and_lists_leaked_patients(shared, tmp_path_factory, cache):
    scores, leaked = {}, {}
    for protocol in ("image", "patient"):
        sets = vit(shared, f"data.split.protocol={protocol}", *SMALL_SIZE)
        paths = run_without_export("breakhis-leak.yaml", tmp_path_factory.mktemp(protocol), cache, *sets)
        scores[protocol] = metric_values(paths)["balanced_accuracy"]
        leaked[protocol] = json.loads((paths.prepared / "report.json").read_text())["leaked_patients"]
    assert scores["image"] - scores["patient"] >= 0.2
    assert leaked["patient"] == []
    assert "16196" in leaked["image"]


@pytest.mark.nightly
def test_shuffled_labels__balanced_accuracy_is_at_chance(shared, tmp_path_factory, cache):
    rows = list(csv.DictReader((shared / "breakhis200x" / "manifest.csv").open()))
    folder = tmp_path_factory.mktemp("shuffled")
    patients = sorted({row["patient_group"] for row in rows})
    by_patient = {row["patient_group"]: row["label"] for row in rows}
    shuffled = dict(zip(patients, np.random.default_rng(3).permutation([by_patient[p] for p in patients]), strict=True))
    with (folder / "labels.csv").open("w") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "group"])
        for row in rows:
            image_path = shared / "breakhis200x" / row["path"]
            (folder / row["file_name"]).write_bytes(image_path.read_bytes())
            writer.writerow([row["file_name"], shuffled[row["patient_group"]], row["patient_group"]])
    overlay = folder / "folder.yaml"
    overlay.write_text((PROJECT / "recipes" / "breakhis-binary-vit.yaml").read_text()
                       .replace("source: breakhis", "source: folder\n  csv: labels.csv\n  positive: malignant")
                       .replace("  labels: binary\n  magnification: 200\n", ""))  # fmt: skip
    sets = vit(shared, f"data.root={folder}", *SMALL_SIZE)
    sets.remove(f"data.root={shared / 'breakhis200x'}")
    paths = run_without_export(str(overlay), tmp_path_factory.mktemp("chance"), cache, *sets)
    # Seven benign patients: the spread of balanced accuracy over patients is about 0.1.
    assert abs(metric_values(paths)["balanced_accuracy"] - 0.5) <= 0.3


@pytest.fixture(scope="module")
def few_images(shared, tmp_path_factory):
    """Return a folder with two images of every patient, for tests of the network rather than of its metrics."""
    folder, copied = tmp_path_factory.mktemp("few"), Counter()
    for row in csv.DictReader((shared / "breakhis200x" / "manifest.csv").open()):
        if copied[row["patient_group"]] < 2:
            copied[row["patient_group"]] += 1
            shutil.copy(shared / "breakhis200x" / row["path"], folder)
    return folder


@pytest.mark.nightly
def test_lora__merged_network_exports_like_the_plain_network(shared, few_images, tmp_path_factory, cache):
    sets = vit(
        shared,
        f"data.root={few_images}",
        "schedule=full",
        "model.head.kind=linear",
        "model.peft={method: lora, rank: 7}",
        "finetune.epochs=1",
        "finetune.lr=2.0e-3",
        "data.split.folds=3",
        *SMALL_SIZE,
    )
    paths = run("breakhis-binary-vit.yaml", tmp_path_factory.mktemp("lora"), cache, *sets)
    bundle = paths.stage("export")
    weights = onnx.load(str(bundle / "model.onnx")).graph.initializer
    assert not [tensor.name for tensor in weights if 7 in tensor.dims]  # no matrix of the low-rank update remains
    assert json.loads((bundle / "bundle.json").read_text())["parity"]["fp32"]["max_abs_diff"] <= 1e-4
    tuned = load_file(paths.stage("finetune", 1) / "model.safetensors")
    pretrained = load_file(shared / "weights" / "deit_tiny_patch16_224.safetensors")
    changed = {
        name
        for name, tensor in pretrained.items()
        if f"backbone.{name}" in tuned
        and tensor.shape == tuned[f"backbone.{name}"].shape
        and not torch.equal(tensor, tuned[f"backbone.{name}"])
    }
    assert changed == {f"blocks.{block}.attn.qkv.weight" for block in range(12)}
