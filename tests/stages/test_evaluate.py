import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.config.evaluation import OperatingPoint
from medtune.config.project import PROJECT
from medtune.data.manifest import load_prepared
from medtune.runtime.artifact import Artifact, find_artifact
from medtune.serving.tasks.classification import decide
from medtune.stages import evaluate
from medtune.stages.step_keys import evaluate_key
from medtune.tasks.classification.metrics import compute_all

FIXED = ("accuracy", "balanced_accuracy", "macro_f1", "macro_precision", "macro_recall", "auroc", "brier",
         "patient_recognition_rate")  # fmt: skip


def evaluate_world(world, **changes) -> Artifact:
    params = world.params
    if changes:
        params = params.model_copy(update={"evaluate": params.evaluate.model_copy(update=changes)})
    return evaluate.run(params, world.paths)


def read_json(artifact: Artifact, name: str):
    def reject(constant):
        raise AssertionError(f"{name} contains {constant}")

    return json.loads((artifact.folder / name).read_text(), parse_constant=reject)


def read_csv(artifact: Artifact, name: str):
    with (artifact.folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_run__evaluates_two_classes_in_all_folds(make_world):
    world = make_world()
    artifact = evaluate_world(world)
    metrics, rows = read_json(artifact, "metrics.json"), read_csv(artifact, "predictions.csv")
    result = artifact.result()

    assert set(FIXED) <= metrics["test"].keys()
    assert {"sensitivity", "specificity", "average_precision", "paper_f1"} <= metrics["test"].keys()
    for name in FIXED:
        interval = metrics["test"][name]
        assert interval["lo"] <= interval["hi"], name
    assert (metrics["n_images"], metrics["n_patients"], metrics["protocol"], metrics["stage"]) == (
        45, 9, "patient", "frozen",
    )  # fmt: skip
    assert metrics["intervals"] == (
        "95 %, jackknife over patients with Student's t; the trained networks are held fixed"
    )
    assert [fold["decision"]["kind"] for fold in metrics["folds"]] == ["threshold"] * 3
    assert metrics["stages_kept"] == {"0": "frozen", "1": "frozen", "2": "frozen"}

    assert metrics["positive"] == "class1"
    recall = {row["class"]: row["recall"] for row in metrics["per_class"]}
    assert metrics["test"]["sensitivity"]["value"] == recall["class1"]
    assert metrics["test"]["specificity"]["value"] == recall["class0"]
    page = (artifact.folder / "report.html").read_text()
    assert all(f"{name} (positive: class1)" in page for name in ("sensitivity", "specificity", "AUROC"))

    # predictions.csv is sufficient to compute the metrics
    assert list(rows[0]) == ["path", "patient", "label", "prediction", "prob_class0", "prob_class1"]
    assert len({row["path"] for row in rows}) == 45
    classes = result["classes"]
    labels = np.array([classes.index(row["label"]) for row in rows])
    predictions = np.array([classes.index(row["prediction"]) for row in rows])
    probabilities = np.array([[float(row[f"prob_{name}"]) for name in classes] for row in rows])
    computed = compute_all(labels, probabilities, predictions, np.array([row["patient"] for row in rows]))
    for name, value in computed.items():
        assert metrics["test"][name]["value"] == pytest.approx(value, abs=1e-6), name

    # the stored logits are sufficient too, with the temperature and decision of each fold
    stored = np.load(artifact.folder / "logits.npz")
    from medtune.tasks.classification.calibration import softmax

    for fold, record in result["folds"].items():
        probabilities_of_fold = softmax(stored[f"fold{fold}_test_logits"], record["temperature"])
        decisions = decide(probabilities_of_fold, record["decision"], classes)
        names = [f"img/{row}.png" for row in stored[f"fold{fold}_test_rows"]]
        decision_by_path = {row["path"]: row["prediction"] for row in rows}
        assert [classes[p] for p in decisions] == [decision_by_path[name] for name in names]
    assert set(result["folds"]["0"]) >= {"kept", "temperature", "decision", "validation"}
    assert result["test_folds"] == [0, 1, 2]
    assert result["decision"]["images"] == 45  # every image is in the validation split of one fold
    # The decision rule of a fold does not use the patients of the fold.
    assert all(record["decision"]["images"] == 30 for record in result["folds"].values())
    assert "cross_validation" not in metrics


def test_run__single_fold_reports_cross_validation_too(make_world):
    all_folds = evaluate_world(make_world())
    pooled, rows = read_json(all_folds, "metrics.json"), read_csv(all_folds, "predictions.csv")
    world = make_world(test_fold=1)
    shutil.rmtree(world.paths.stage("evaluate"))
    artifact = evaluate_world(world)
    metrics = read_json(artifact, "metrics.json")
    assert [fold["fold"] for fold in metrics["folds"]] == [1]
    assert (metrics["n_images"], metrics["cross_validation"]["n_images"]) == (15, 45)
    assert metrics["cross_validation"]["metrics"] == pooled["test"]
    assert [fold["fold"] for fold in metrics["cross_validation"]["folds"]] == [0, 1, 2]
    assert read_csv(artifact, "predictions_cross_validation.csv") == rows
    tested = {row["path"]: row for row in read_csv(artifact, "predictions.csv")}
    assert len(tested) == 15
    assert [row for row in rows if row["path"] in tested] == list(tested.values())
    assert "<h2>Cross-validation</h2>" in (artifact.folder / "report.html").read_text()
    assert set(artifact.result()["folds"]) == {"0", "1", "2"}


def test_run__specificity_is_reached_on_validation(make_world):
    artifact = evaluate_world(make_world(), threshold=OperatingPoint(specificity=0.8))
    rule = artifact.result()["decision"]
    assert (rule["kind"], rule["criterion"]) == ("threshold", {"specificity": 0.8})
    assert rule["why"].startswith("specificity of at least 0.8: specificity 0.8")
    assert rule["patients"] == {"negative": 6, "positive": 3}


def test_run__operating_point_needs_two_classes(make_world):
    with pytest.raises(InputError, match=r"evaluate\.threshold=\{specificity: 0\.8\}: a threshold needs two classes"):
        evaluate_world(make_world(classes=3), threshold=OperatingPoint(specificity=0.8))


def test_run__writes_plots_and_report_and_reuses_them(make_world):
    world = make_world(test_fold=1)
    artifact = evaluate_world(world)
    assert {p.name for p in (artifact.folder / "plots").iterdir()} == {
        "confusion.csv", "roc.csv", "precision_recall.csv", "reliability.csv", "history.csv", "decision_curve.csv",
    }  # fmt: skip
    assert list(read_csv(artifact, "plots/confusion.csv")[0]) == ["actual", "predicted"]
    assert len(read_csv(artifact, "plots/confusion.csv")) == 15
    assert list(read_csv(artifact, "plots/roc.csv")[0]) == ["fpr", "tpr", "class"]
    history = read_csv(artifact, "plots/history.csv")
    assert [row["epoch"] for row in history] == ["1", "2"]
    assert history[1]["val/auroc"] == ""
    page = (artifact.folder / "report.html").read_text()
    assert "Bright &amp; dark" in page
    assert "drawn &lt;by&gt; code" in page
    assert page.count("data:image/png;base64,") == len(list((artifact.folder / "images").iterdir())) == 9
    assert not re.search(r"(src|href)=\"(?!data:)", page)

    before = (artifact.folder / "result.json").stat().st_mtime_ns
    assert evaluate_world(world) == artifact
    assert (artifact.folder / "result.json").stat().st_mtime_ns == before


def test_run__changed_options_reuse_logits(make_world):
    world = make_world(test_fold=1)
    first = evaluate_world(world)
    stored = sorted((world.paths.cache / "logits").iterdir())
    assert len(stored) == 3
    modification_times = [path.stat().st_mtime_ns for path in stored]
    second = evaluate_world(world, threshold="argmax", calibration="none")
    assert second.key != first.key
    assert second.result()["folds"]["1"]["decision"] == {"kind": "argmax"}
    assert second.result()["folds"]["1"]["temperature"] == 1
    assert [path.stat().st_mtime_ns for path in stored] == modification_times


def test_run__damaged_result_is_reproduced_byte_for_byte(make_world):
    world = make_world(test_fold=1)
    first = evaluate_world(world)
    (first.folder / "predictions.csv").write_text("damaged")
    assert evaluate_world(world).sha256 == first.sha256
    assert find_artifact(first.folder, first.key) == first


def test_run__image_protocol_warns_about_the_leak(make_world):
    artifact = evaluate_world(make_world(classes=3, protocol="image", test_fold=0))
    warnings = read_json(artifact, "metrics.json")["warnings"]
    assert "9 of 9 patients" in warnings[0]
    assert 'class="warning">Leak: 9 of 9' in (artifact.folder / "report.html").read_text()
    assert artifact.result()["folds"]["0"]["decision"] == {"kind": "argmax"}


def test_run__error_about_non_finite_logits_names_the_fold(make_world):
    world = make_world(test_fold=2, ruin=True)
    with pytest.raises(RuntimeError, match="fold 0: 15 of 15 val images have logits that are not finite"):
        evaluate_world(world)
    assert find_artifact(world.paths.stage("evaluate")) is None


def test_key__depends_on_all_inputs_of_the_result(make_world):
    world = make_world(test_fold=1)
    prepared = load_prepared(world.paths.prepared)

    def key(params=world.params, trained=world.trained):
        return evaluate_key(params, prepared, trained)

    assert key() == key()
    assert key(world.params.model_copy(update={"seed": 2})) != key()
    options = world.params.evaluate.model_copy(update={"reliability_bins": 9})
    assert key(world.params.model_copy(update={"evaluate": options})) != key()
    other_network = Artifact(world.trained[0].path, world.trained[0].key, "0" * 64)
    assert key(trained=[other_network]) != key()
    tracking = world.params.tracking.model_copy(update={"project": "elsewhere"})
    assert key(world.params.model_copy(update={"tracking": tracking})) == key()


def test_run__error_names_the_stage_to_run_first(make_world):
    world = make_world(test_fold=1)
    (world.trained[1].folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"artifacts/frozen/fold-1: no finished .* Run `medtune stage frozen` with"):
        evaluate.run(world.params, world.paths)


def test_stage__module_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys, medtune.stages.evaluate; sys.exit(bool({'torch', 'matplotlib', 'prefect'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
