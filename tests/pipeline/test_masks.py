"""Images with masks, from files to predictions: the bundle gives the label maps of the evaluation."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from medtune.cli.main import call
from medtune.config.errors import InputError
from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.data.sources import masks
from medtune.models.slice_network import SliceNetwork
from medtune.runtime.paths import RunPaths
from medtune.serving.any_bundle import load_bundle
from medtune.serving.http import create_app
from medtune.stages import data, evaluate, export, finetune, frozen
from medtune.stages.trial_export import trial_layout
from medtune.training import checkpoint

pytestmark = pytest.mark.xdist_group("masks")


def make_params(root, section=None, **sections):
    model = {"backbone": "test_vit", "weights": "bundled", "head": {"kind": "decoder", "width": 4},
             "peft": {"method": "lora"}}  # fmt: skip
    stage = {"epochs": 1, "batch_size": 4, "monitor": "dice"}
    return validate({
        "task": {"kind": "segmentation", "controls": [], "augment": {"affine_probability": 1.0, "mirror": ["x", "y"]}},
        "schedule": "staged",
        "data": {"source": "masks", "root": str(root), "split": {"folds": 3, "test_fold": 0}, **(section or {})},
        "model": model,
        "frozen": {**stage, "lr": 5e-3, "feature_views": 1},
        "finetune": {**stage, "lr": 1e-3},
        "export": {"precisions": ["fp32"], "batch_sizes": [2], "parity_images": 4},
        "gate": {"metric": "dice"},
        "tracking": {"mode": "disabled"},
        **sections,
    })  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Train, evaluate and export on images that are larger than a patch and have another spacing."""
    folder = tmp_path_factory.mktemp("masks")
    section = masks.example(folder / "raw") | {"patch": [16, 16, 1], "spacing": [1.25, 1.25, 1.0], "csv": "t.csv"}
    section |= {"patient_pattern": None, "split": {"protocol": "column", "folds": 3, "test_fold": 0}}
    splits = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    names = [f"P{number // 2}_{number % 2}.png" for number in range(12)]
    rows = [f"images/{name},masks/{name},{name[:2]},{split}" for name, split in zip(names, splits, strict=True)]
    (folder / "raw" / "t.csv").write_text("\n".join(["path,mask,patient,split", *rows]))
    params, paths = make_params(folder / "raw", section), RunPaths(folder, folder / "cache")
    data.run(params, paths)
    frozen.run(params, paths, 0)
    model = checkpoint.load_trained(finetune.run(params, paths, 0))
    evaluated = evaluate.run(params, paths)
    bundle = export.run(params, paths)
    return SimpleNamespace(
        raw=folder / "raw",
        out=folder / "out",
        paths=paths,
        model=model,
        evaluated=evaluated.folder,
        bundle=bundle.folder,
    )


def read(path):
    return np.asarray(Image.open(path))


@pytest.mark.slow
def test_pipeline__bundle_gives_the_label_maps_of_the_evaluation(world, capsys):
    document = json.loads((world.bundle / "bundle.json").read_text(encoding="utf-8"))
    assert document["volumes"]["images"] == {"pixel_mm": [1.0, 1.0]}
    assert document["parity"]["fp32"]["consumer"]["label_agreement_min"] == 1.0
    assert document["parity"]["fp32"]["volumes"]["label_agreement_min"] == 1.0
    prepared, out = load_prepared(world.paths.prepared), world.out
    assert call(["predict", str(world.bundle), str(world.raw / "images"), "--out", str(out)]) == 0
    tested = [world.raw / prepared.paths[row] for row in prepared.indices(0)["test"]]
    assert len(list((world.evaluated / "segmentations").iterdir())) == len(tested) == 4
    for path in tested:  # the bundle has one network, which the evaluation has used
        expected = read(world.evaluated / "segmentations" / f"images-{path.stem}.png")
        np.testing.assert_array_equal(read(out / path.name), expected)
        assert expected.shape == read(path).shape[:2]
    with (out / "volumes.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    found = read(out / "P0_1.png")
    assert (found.dtype, found.shape) == (np.uint8, (24, 32))
    assert [int(rows[1][f"pixels_{name}"]) for name in ("lesion", "vessel")] == [(found == 1).sum(), (found == 2).sum()]


@pytest.mark.slow
def test_pipeline__evaluation_of_the_bundle_equals_that_of_its_network(world):
    out = world.out.with_name("external")
    pattern = "data.patient_pattern=(P[0-9])_"
    assert call(["evaluate", str(world.bundle), "--data", str(world.raw), "--set", pattern, "--out", str(out)]) == 0
    tables = []
    for folder in (world.evaluated, out):
        with (folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
            tables.append({row["path"]: row for row in csv.DictReader(stream)})
    expected, found = tables
    assert len(found) == 12
    assert len(expected) == 4
    for path, row in expected.items():
        assert found[path]["patient"] == row["patient"]
        for name in ("dice_lesion", "nsd_lesion", "dice_vessel", "prediction_ml_lesion"):
            assert found[path][name] == row[name]
        name = f"segmentations/images-{Path(path).stem}.png"
        np.testing.assert_array_equal(read(out / name), read(world.evaluated / name))
    overlap = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["external"]["training_overlap"]
    assert (overlap["images"], overlap["test_images"], overlap["patients"]) == (8, 4, 4)


@pytest.mark.slow
def test_pipeline__report_shows_the_image(world):
    text = (world.evaluated / "report.html").read_text(encoding="utf-8")
    assert "coronal" not in text
    assert "distances are in pixels" in text
    assert "mean area error (1,000 pixels)" in text
    assert not re.search(r"\b(volume|voxel)s?\b", re.sub(r"<(style|script).*?</\1>|<[^>]*>", "", text, flags=re.DOTALL))
    assert (world.evaluated / "images" / "case_best.png").stat().st_size > 0
    assert "in images of red, green, blue" in (world.bundle / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_serve__returns_a_mask(world):
    client = TestClient(create_app(load_bundle(world.bundle)))
    content = (world.raw / "images" / "P0_0.png").read_bytes()
    answer = client.post("/predict", content=content)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    answer = client.post("/predict", content=content, headers={"accept": "application/json"})
    assert set(answer.json()["predictions"][0]["pixels"]) == {"lesion", "vessel"}
    assert client.post("/predict", content=content[:-30]).status_code == 422


@pytest.mark.slow
def test_network__reads_colors_and_one_slice(world):
    assert isinstance(world.model, SliceNetwork)
    assert world.model.images == 1
    assert world.model.head.stem[0][0].kernel_size == (3, 3, 1)


def test_dry_run__has_the_colors_and_one_slice(tmp_path):
    assert trial_layout(make_params(tmp_path)) == {"classes": 3, "channels": 3, "patch": [16, 16, 1]}
    assert trial_layout(make_params(tmp_path, {"color": "gray"}))["channels"] == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": {"backbone": "unet", "weights": "none", "head": {"kind": "decoder"}, "peft": {"method": "lora"}}},
         "model.backbone=unet: data.source=masks has images, and this network needs volumes"),
        ({"task": {"kind": "segmentation", "augment": {"mirror": ["z"]}}}, "task.augment.mirror="),
    ],
)  # fmt: skip
def test_params__images_refuse_settings_of_volumes(tmp_path, change, problem):
    with pytest.raises(InputError) as error:
        make_params(tmp_path, **change)
    assert problem in str(error.value)
