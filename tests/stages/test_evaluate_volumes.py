"""Stage evaluate for segmentation: metrics on the grids of the files, label maps, baseline and report."""

import csv
import json
import re
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from medtune.config.errors import InputError, RunError
from medtune.data.manifest import load_prepared
from medtune.runtime.artifact import find_artifact
from medtune.stages import evaluate
from medtune.tasks.segmentation.case_metrics import case_metrics
from medtune.tasks.segmentation.evaluation import read_predictions

LABELS = {"upper organ": 1, "lower organ": 2, "lesion": 3}


def read_json(artifact, name="metrics.json"):
    def reject(constant):
        raise AssertionError(f"{name} contains {constant}")

    return json.loads((artifact.folder / name).read_text(), parse_constant=reject)


def read_csv(artifact, name):
    with (artifact.folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def changed(world, section, **values):
    new = getattr(world.params, section).model_copy(update=values)
    return world.params.model_copy(update={section: new})


def test_run__evaluates_the_volumes_of_all_folds(make_volume_world, capsys):
    world = make_volume_world()
    artifact = evaluate.run(world.params, world.paths)
    metrics, result = read_json(artifact), artifact.result()
    output = capsys.readouterr().out

    test = metrics["test"]
    assert {"dice", "nsd", "hd95", "volume_error", "sensitivity", "precision"} <= test.keys()
    assert {f"dice/{name}" for name in LABELS} <= test.keys()
    assert test["dice"]["lo"] <= test["dice"]["value"] <= test["dice"]["hi"]
    assert (metrics["n_images"], metrics["n_volumes"], metrics["n_patients"]) == (9, 9, 9)
    assert (metrics["unit"], metrics["protocol"], metrics["tolerance_mm"]) == ("volumes", "patient", 1.0)
    assert [row["label"] for row in metrics["per_label"]] == list(LABELS)
    assert metrics["per_label"][2]["n_truth"] == 6
    assert [entry["name"] for entry in metrics["baselines"]] == ["prior_map"]
    assert result["decision"]["kind"] == "post_processing"
    assert result["folds"]["1"]["decision"]["min_volume_mm3"] == 0
    assert result["folds"]["1"]["validation"]["dice"] is not None
    assert "on 9 volumes of 9 patients" in output
    assert "mean mask of the training volumes" in output
    assert not (artifact.folder / "logits.npz").exists()

    # The files of the artifact are sufficient to compute the metrics.
    prepared = load_prepared(world.paths.prepared)
    stored = read_predictions(artifact.folder / "predictions.csv")
    for label, name in enumerate(LABELS):
        assert stored.stats.weighted(np.ones((1, 9))).mean("dice")[0, label] == test[f"dice/{name}"]["value"]
    rows = {row["path"]: row for row in read_csv(artifact, "predictions.csv")}
    assert sorted(rows) == sorted(prepared.paths)
    for row, path in enumerate(prepared.paths):
        image = nibabel.load(artifact.folder / "segmentations" / f"{path}.nii.gz")
        entry = prepared.volumes.entries[row]
        assert np.allclose(image.affine, np.array(entry.affine), atol=1e-4)
        cases = case_metrics(prepared.volumes.truth(row), np.asarray(image.dataobj), entry.spacing, LABELS)
        for case in cases:
            assert float(rows[path][f"dice_{case.label}"]) == case.dice
            assert float(rows[path][f"nsd_{case.label}"]) == case.nsd
    cases = read_csv(artifact, "cases.csv")
    assert len(cases) == 27

    # Volumes unlike the training volumes of their fold, in features too.
    unlike = metrics["unlike_training"]
    flagged = {row["volume"] for row in cases if row["flags"]}
    assert (unlike["n_volumes"], unlike["n_flagged"]) == (9, len(flagged))
    assert [limit["patients"] for limit in unlike["feature_limits"]] == [6, 6, 6]  # not the patients of the test fold
    assert result["decision"]["feature_limit"]["patients"] == 9
    with np.load(artifact.folder / "features.npz") as stored:
        assert sorted(stored) == sorted(f"fold{k}_{name}" for k in range(3) for name in ("center", "whitening"))
    assert read_csv(artifact, "plots/history.csv")[1]["val/dice"] == "0.3"


def test_run__writes_a_report_that_names_the_baseline_and_needs_no_network(make_volume_world):
    world = make_volume_world()
    artifact = evaluate.run(changed(world, "evaluate", by=["lesion"]), world.paths)
    page = (artifact.folder / "report.html").read_text()
    assert "MedTune phantom: evaluation on test volumes" in page
    assert "mean mask of the training volumes" in page
    assert page.count("the model itself is this control, because it is the decoder alone") == 2  # in both tables
    assert "validation Dice" in page
    assert "<h2>Subgroups</h2>" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert len(page) < 3_000_000
    names = {path.stem for path in (artifact.folder / "images").iterdir()}
    assert names == {"dice", "sizes", "reliability", "history", "case_worst", "case_median", "case_best", "subgroups"}
    assert "<h2>Calibration of the voxels</h2>" in page
    section = page.partition("<h2>Volumes unlike the training volumes</h2>")[2].partition("<h2>")[0]
    names = {row["volume"] for row in read_csv(artifact, "cases.csv") if row["flags"]}
    assert all(f"<td>{name}</td>" in section for name in names)
    assert bool(names) != ("No test volume differs from the training volumes in spacing, field of view, int" in section)
    assert "About 14 % of patients like the validation patients exceed it by chance." in section
    groups = {group["value"]: group["n_images"] for group in read_json(artifact)["subgroups"][0]["subgroups"]}
    assert groups == {"no": 3, "yes": 6}
    assert "Labels: upper organ, lower organ, lesion. Masks are used" in (artifact.folder / "checklist.md").read_text()


def test_run__settings_of_the_evaluation_reuse_the_label_maps(make_volume_world):
    world = make_volume_world(test_fold=0)
    first = evaluate.run(world.params, world.paths)
    stored = sorted((world.paths.cache / "segmentations").rglob("*.npz"))
    times = [path.stat().st_mtime_ns for path in stored]
    assert evaluate.run(world.params, world.paths) == first
    params = changed(world, "task", tolerance_mm=10.0, largest_component="all", min_volume_mm3=500.0)
    second = evaluate.run(params, world.paths)
    assert second.key != first.key
    assert second.result()["folds"]["0"]["decision"]["largest"] == [1, 2, 3]
    assert sorted((world.paths.cache / "segmentations").rglob("*.npz")) == stored
    assert [path.stat().st_mtime_ns for path in stored] == times
    assert read_json(second)["test"]["nsd"]["value"] >= read_json(first)["test"]["nsd"]["value"]
    before, decision = read_json(second), second.result()["folds"]["0"]["decision"]
    metrics = sorted((world.paths.cache / "segmentations" / "metrics").rglob("*.json"))
    params = changed(SimpleNamespace(params=params), "evaluate", confidence=0.9, calibration="none")
    third = evaluate.run(params, world.paths)
    assert sorted((world.paths.cache / "segmentations" / "metrics").rglob("*.json")) == metrics
    assert [path.stat().st_mtime_ns for path in stored] == times
    after = read_json(third)
    assert after["test"]["dice"]["value"] == before["test"]["dice"]["value"]
    assert [fold["temperature"] for fold in after["calibration"]["folds"]] == [1]
    assert after["calibration"]["test"]["ece_after"] == after["calibration"]["test"]["ece_before"]
    # A temperature changes the uncertainty and no metric.
    (temperature,) = (fold["temperature"] for fold in before["calibration"]["folds"])
    assert temperature == decision["temperature"] != 1
    assert before["calibration"]["test"]["nll_after"]["value"] != after["calibration"]["test"]["nll_after"]["value"]
    assert before["uncertainty"]["labels"][0]["mean"] != after["uncertainty"]["labels"][0]["mean"]


def test_run__single_fold_reports_cross_validation_too(make_volume_world):
    world = make_volume_world(test_fold=1)
    artifact = evaluate.run(world.params, world.paths)
    metrics = read_json(artifact)
    assert (metrics["n_volumes"], metrics["cross_validation"]["n_images"]) == (3, 9)
    assert len(read_csv(artifact, "predictions_cross_validation.csv")) == 9
    assert len(list((artifact.folder / "segmentations").iterdir())) == 3
    assert "9 volumes of 9 patients" in (artifact.folder / "report.html").read_text()
    assert "each on test volumes it has not seen" in metrics["final"]["what"]


def test_run__damaged_result_is_reproduced_byte_for_byte(make_volume_world):
    world = make_volume_world(test_fold=1)
    first = evaluate.run(world.params, world.paths)
    (first.folder / "cases.csv").write_text("damaged")
    assert evaluate.run(world.params, world.paths).sha256 == first.sha256


def test_run__output_of_nan_names_the_network(make_volume_world):
    world = make_volume_world(test_fold=1, ruin=True)
    with pytest.raises(RunError, match=r"fold 0: volume P00\d: the network returns NaN or infinity\. If the training"):
        evaluate.run(world.params, world.paths)
    assert find_artifact(world.paths.stage("evaluate")) is None


@pytest.mark.parametrize(
    ("tolerance", "message"),
    [
        ({"upper organ": 1.0, "lower organ": 2.0}, "task.tolerance_mm: no tolerance for the label 'lesion'. Add it"),
        (dict.fromkeys([*LABELS, "lesions"], 1.0), "unknown label 'lesions' (did you mean 'lesion'?)"),
    ],
)
def test_run__every_label_needs_a_tolerance(make_volume_world, tolerance, message):
    world = make_volume_world(test_fold=1)
    with pytest.raises(InputError, match=re.escape(message)):
        evaluate.run(changed(world, "task", tolerance_mm=tolerance), world.paths)


def test_run__tolerance_of_each_label(make_volume_world):
    world = make_volume_world(test_fold=1)
    tolerance = {"upper organ": 0.0, "lower organ": 50.0, "lesion": 1.0}
    artifact = evaluate.run(changed(world, "task", tolerance_mm=tolerance), world.paths)
    metrics = read_json(artifact)
    assert metrics["tolerance_mm"] == tolerance
    assert metrics["test"]["nsd/lower organ"]["value"] > metrics["test"]["nsd/upper organ"]["value"]
    assert "50.0 mm (lower organ)" in (artifact.folder / "report.html").read_text()
