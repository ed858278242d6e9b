"""Volumes of three layouts, from files to label maps: the bundle reads the same files as the training."""

import csv
import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from medtune.cli.main import call
from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.flows import pipeline
from medtune.runtime.artifact import find_artifact
from medtune.runtime.paths import RunPaths
from medtune.serving.members import REFIT
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.pipeline import segment
from medtune.stages import data, gate
from medtune.stages.steps import Steps
from tests.robustness.volumes.commands import PARAMS
from tests.stages.volume_folder import write_example

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("volumes")]

# Source, sections that differ, and files of a patient for `medtune predict`.
SOURCES = {
    "decathlon": ({"gate": {"metric": "nsd"}}, "imagesTr/case_003.nii.gz"),
    "nnunet": ({"final": "refit"}, "imagesTr/P1_1_0000.nii.gz,imagesTr/P1_1_0001.nii.gz"),
    "dicom": ({}, "images/P1_1"),
}
ROW = 3
SPLITS = ["train"] * 6 + ["val"] * 2 + ["test"] * 4


@pytest.fixture(scope="module", params=SOURCES)
def world(request, tmp_path_factory):
    """Prepare and train the example of a source, evaluate and export."""
    folder, source = tmp_path_factory.mktemp(request.param), request.param
    sections, files = SOURCES[source]
    section = write_example(source, folder / "raw")
    split = {"protocol": "patient", **section.get("split", {}), "folds": 3, "test_fold": 0}
    if source == "dicom":  # a table with a fixed split, so that one network is trained
        names = sorted(path.name for path in (folder / "raw" / "images").iterdir())
        rows = [
            f"images/{name},masks/{name}.nii.gz,{name[:2]},{split}" for name, split in zip(names, SPLITS, strict=True)
        ]
        (folder / "raw" / "t.csv").write_text("\n".join(["path,mask,patient,split", *rows]))
        section |= {"csv": "t.csv", "patient_pattern": None}
        split = {"protocol": "column", "folds": 3, "test_fold": 0}
    tree = {
        **PARAMS,
        "data": {**section, "patch": [16, 16, 16], "split": split},
        "frozen": {"monitor": "dice", "epochs": 2, "min_steps": 40, "batch_size": 2, "lr": 3e-2, "ema_decay": None},
        "export": {"precisions": ["fp32"], "batch_sizes": [1], "parity_images": 4},
        **sections,
    }
    params, paths = validate(tree), RunPaths(folder, folder / "cache")
    data.run(params, paths)
    pipeline.run_directly(Steps(params, paths))
    inputs = ",".join(str(folder / "raw" / file) for file in files.split(","))
    return SimpleNamespace(
        source=source, folder=folder, params=params, paths=paths, bundle=paths.stage("export"), inputs=inputs
    )


def metrics_of(world):
    return json.loads((world.paths.stage("evaluate") / "metrics.json").read_text(encoding="utf-8"))


def test_pipeline__bundle_segments_the_files_like_the_prepared_volumes(world):
    prepared, out = load_prepared(world.paths.prepared), world.folder / "out"
    assert call(["predict", str(world.bundle), world.inputs, "--out", str(out)]) == 0
    (written,) = out.glob("*.nii.gz")
    found = nib.as_closest_canonical(nib.load(written))
    entry, bundle = prepared.volumes.entries[ROW], VolumeBundle.load(world.bundle)
    settings = bundle.settings
    expected = segment(
        prepared.volumes.image(ROW), tuple(entry.original_shape), entry.spacing, settings.preparation, bundle.run,
        settings.patch, settings.overlap, len(prepared.classes), temperature=settings.temperature,
    ).labels  # fmt: skip
    expected = settings.post_processing.apply(expected, len(prepared.classes), entry.spacing)
    labels = np.asarray(found.dataobj)
    assert len(np.unique(labels)) > 1
    assert (labels == expected).mean() > 0.999
    np.testing.assert_allclose(found.affine, entry.affine, atol=1e-3)
    with (out / "volumes.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    voxel_ml = np.prod(entry.spacing) / 1000
    assert float(row["ml_upper organ"]) == pytest.approx((labels == 1).sum() * voxel_ml, rel=0.01, abs=1e-3)


def test_pipeline__report_and_bundle_name_the_final_model(world):
    metrics = metrics_of(world)
    document = json.loads((world.bundle / "bundle.json").read_text(encoding="utf-8"))
    refit = world.params.final == "refit"
    folds = [None] if refit else [0] if world.source == "dicom" else [0, 1, 2]
    assert metrics["n_volumes"] == 4
    assert (
        metrics["final"]["kind"] == document["exported"]["final"] == ("single" if folds == [0] else world.params.final)
    )
    assert [member["fold"] for member in document["members"]] == folds
    assert document["parity"]["fp32"]["max_abs_diff"] < 1e-4
    assert document["parity"]["fp32"]["volumes"]["label_agreement_min"] >= 0.999
    if not refit:
        return
    artifact = find_artifact(world.paths.stage("frozen", REFIT))
    assert artifact.result()["images"] == {"train": 12, "val": 0}
    record = find_artifact(world.paths.stage("evaluate")).result()
    assert document["volumes"]["temperature"] == record["refit"]["decision"]["temperature"]
    text = "trained on all 12 labeled volumes"
    assert text in (world.bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert text in (world.paths.stage("evaluate") / "report.html").read_text(encoding="utf-8")


def test_gate__scores_the_metric_of_the_params_or_refuses_a_refit(world):
    decision = gate.run(world.params, world.paths, None)
    if world.params.final == "refit":
        assert not decision.promoted
        assert any("final=refit: this model has seen every patient" in reason for reason in decision.reasons)
        return
    assert decision.metric == world.params.gate.metric
    metrics = metrics_of(world)
    fixed = world.source == "dicom"
    assert decision.n_images == (4 if fixed else 12)
    expected = (metrics["test"] if fixed else metrics["cross_validation"]["metrics"])[decision.metric]["value"]
    assert decision.challenger.score.value == pytest.approx(expected, abs=1e-3)
    champion = gate.Champion("old", world.bundle, (world.paths.prepared / "manifest.csv").read_text(encoding="utf-8"))
    same = gate.run(world.params, world.paths, champion)
    assert not same.promoted
    assert same.difference.value == 0
