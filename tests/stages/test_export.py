import csv
import hashlib
import json
import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from medtune.cli.main import call
from medtune.data.manifest import load_prepared
from medtune.export import image_export
from medtune.runtime.artifact import commit, partial_dir, verify
from medtune.runtime.paths import RunPaths
from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError
from medtune.stages import evaluate, export
from medtune.stages.step_keys import export_key
from medtune.training.checkpoint import load_trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("export")]
BUILT: list[SimpleNamespace] = []


def build(world, **changes) -> SimpleNamespace:
    params = world.params.model_copy(update={"export": world.params.export.model_copy(update=changes)})
    evaluated, prepared = evaluate.run(params, world.paths), load_prepared(world.paths.prepared)
    key = export_key(params, evaluated, world.trained)
    export_case = SimpleNamespace(world=world, params=params, prepared=prepared, evaluated=evaluated, key=key)
    export_case.run = lambda: export.run(params, world.paths)
    return export_case


@pytest.fixture
def exported(make_world) -> SimpleNamespace:
    """Run one export for all tests that only read it."""
    if not BUILT:
        export_case = build(make_world())
        export_case.artifact = export_case.run()
        export_case.document = json.loads((export_case.artifact.folder / "bundle.json").read_text())
        BUILT.append(export_case)
    return BUILT[0]


def test_run__bundle_has_all_files_with_valid_checksums(exported):
    folder, document = exported.artifact.folder, exported.document
    names = {"model.onnx", "model.fp16.onnx", "MODEL_CARD.md", "checklist.md", "sample_input.npy", "sample_output.npy"}
    assert set(document["files"]) == names
    assert {path.name for path in folder.iterdir()} == names | {"bundle.json", "result.json"}
    for name, sha256 in document["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
    assert verify(exported.artifact)
    assert exported.run() == exported.artifact  # the same key: the artifact is reused
    samples = np.load(folder / "sample_input.npy")
    assert samples.shape == (4, 32, 32, 3)
    assert samples.dtype == np.uint8


def test_run__manifest_contains_the_evaluation(exported):
    document, record = exported.document, exported.evaluated.result()
    assert (document["exported"]["final"], document["exported"]["stage"]) == ("ensemble", "frozen")
    assert document["decision"] == record["decision"]
    assert [member["fold"] for member in document["members"]] == [0, 1, 2]
    for member, trained in zip(document["members"], exported.world.trained, strict=True):
        fold_record = record["folds"][str(member["fold"])]
        assert (member["temperature"], member["decision"]) == (fold_record["temperature"], fold_record["decision"])
        assert (member["source_key"], member["source_sha256"]) == (trained.key, trained.sha256)
    metrics = json.loads((exported.evaluated.folder / "metrics.json").read_text())
    assert document["prediction_sets"] == metrics["prediction_sets"]["calibration"]
    assert set(document["prediction_sets"]["min_probability"]) == set(document["classes"])
    assert document["task"] == {"kind": "classification"}
    assert document["positive"] == document["decision"]["positive"] == document["classes"][1] == "class1"
    assert document["data_digest"] == exported.prepared.digest
    assert document["metrics"]["test"]["auroc"].keys() >= {"value", "lo", "hi"}
    assert document["preprocessing"]["resize"] == "squash"
    assert document["data"]["counts"]["class0"]["all"] == (exported.prepared.labels == 0).sum()
    assert document["data"]["n_leaked_patients"] == 0
    assert "leaked_patients" not in document["data"]  # patient ids must not leave the project
    assert "train" not in document["data"]["counts"]["class0"]  # every image was used to train a network


def test_run__graph_is_the_mean_of_the_fold_networks_on_one_backbone(exported):
    """Compare each network with PyTorch and with the predictions of stage evaluate; the backbone is stored once."""
    bundle = Bundle.load(exported.artifact.folder)
    images = exported.prepared.images[:]
    member_probabilities, ensemble = bundle.run_members(images), bundle.run(images)
    assert member_probabilities.shape == (45, 3, 2)
    np.testing.assert_allclose(member_probabilities.mean(1), ensemble, atol=1e-6)
    row_by_path = {row["path"]: row for row in csv.DictReader((exported.evaluated.folder / "predictions.csv").open())}
    for index, artifact in enumerate(exported.world.trained):
        network = load_trained(artifact)
        with torch.inference_mode():
            logits = network(network.preprocess(torch.from_numpy(np.array(images))))
            probabilities = torch.softmax(logits / exported.document["members"][index]["temperature"], -1).numpy()
        np.testing.assert_allclose(member_probabilities[:, index], probabilities, atol=1e-5)
        for row in exported.prepared.indices(index)["test"]:
            assert probabilities[row, 1] == pytest.approx(
                float(row_by_path[exported.prepared.paths[row]]["prob_class1"]), abs=1e-5
            )
    n_backbone_weights = sum(p.numel() for p in network.backbone.parameters())
    graph = onnx.load(exported.artifact.folder / "model.onnx")
    n_stored_weights = sum(np.prod(tensor.dims) for tensor in graph.graph.initializer)
    assert 0.9 * n_backbone_weights < n_stored_weights < 1.2 * n_backbone_weights


def test_run__decision_of_the_graph_equals_bundle_json(exported):
    bundle = Bundle.load(exported.artifact.folder)
    images = np.ascontiguousarray(exported.prepared.images[:])
    decisions, probabilities = bundle.session.run(["decision", "probabilities"], {"images": images})
    assert (decisions.dtype, decisions.shape) == (np.int64, (45,))
    assert [bundle.classes[k] for k in decisions] == bundle.decide(probabilities)
    assert set(decisions.tolist()) == {0, 1}
    changed_manifest = {
        **bundle.manifest,
        "decision": {**bundle.manifest["decision"], "threshold": float(np.median(probabilities[:, 1]))},
    }
    with pytest.raises(BundleError, match="output 'decision' of the fp32 model contradicts the decision rule"):
        Bundle(bundle.folder, changed_manifest, "fp32", bundle.session)._check_decision(images)


def test_run__parity_is_measured_for_every_precision_and_batch_size(exported):
    parity = exported.document["parity"]
    for precision, tolerance in (("fp32", 1e-4), ("fp16", 2e-2)):
        measured = parity[precision]
        assert measured["max_abs_diff"] <= tolerance
        assert set(measured["max_abs_diff_by_batch_size"]) == {"1", "2", "7", "32"}
        assert measured["images"] == 45
        assert measured["nan"] == 0
    assert parity["fp32"]["max_abs_diff"] < 1e-5
    assert parity["fp32"]["argmax_agreement"] == 1
    assert parity["fp16"]["max_abs_diff"] > parity["fp32"]["max_abs_diff"]
    assert parity["fp32"]["consumer"]["max_abs_diff"] < 1e-4


def test_run__graph_is_self_contained_without_paths(exported):
    content = (exported.artifact.folder / "model.onnx").read_bytes()
    graph = onnx.load_model_from_string(content)
    onnx.checker.check_model(graph, full_check=True)
    (images,), (probabilities, decision, members) = graph.graph.input, graph.graph.output
    assert (decision.name, members.name) == ("decision", "members")
    assert [d.dim_value for d in members.type.tensor_type.shape.dim][1:] == [3, 2]
    assert (images.name, images.type.tensor_type.elem_type) == ("images", onnx.TensorProto.UINT8)
    assert [d.dim_value for d in images.type.tensor_type.shape.dim][1:] == [32, 32, 3]
    assert images.type.tensor_type.shape.dim[0].dim_param
    assert probabilities.name == "probabilities"
    properties = {entry.key: entry.value for entry in graph.metadata_props}
    assert properties["key"] == exported.key
    assert json.loads(properties["classes"]) == ["class0", "class1"]
    assert properties["data_digest"] == exported.prepared.digest
    assert b".py" not in content
    assert graph.opset_import[0].version == 20
    assert exported.document["requires"] == {"onnxruntime": "1.18"}


def test_run__command_line_reproduces_predictions_from_image_files(exported, tmp_path, capsys):
    prepared = exported.prepared
    for row in range(45):
        image_path = tmp_path / "images" / prepared.paths[row]
        image_path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(prepared.images[row]).save(image_path)
    out = tmp_path / "predictions.csv"
    assert call(["predict", str(exported.artifact.folder), str(tmp_path / "images"), "--out", str(out)]) == 0
    row_by_path = {row["path"].split("/images/")[1]: row for row in csv.DictReader(out.open())}
    bundle = Bundle.load(exported.artifact.folder)
    expected_rows = dict(zip(prepared.paths, bundle.rows(bundle.run(prepared.images[:])), strict=True))
    assert set(row_by_path) == set(expected_rows)
    for path, row in row_by_path.items():
        assert row["prediction"] == expected_rows[path][0]
        assert float(row["prob_class1"]) == pytest.approx(expected_rows[path][2], abs=1e-6)
    assert "45 images" in capsys.readouterr().err


def test_run__fp16_predicts_and_records_its_parity(exported):
    half = Bundle.load(exported.artifact.folder, "fp16")
    assert half.self_test() < 2e-2


def test_run__model_card_has_properties_leaks_and_known_issues(exported):
    assert "Positive class: `class1`" in (exported.artifact.folder / "MODEL_CARD.md").read_text()
    card = (exported.artifact.folder / "MODEL_CARD.md").read_text()
    assert "averages the probabilities of 3 networks" in card
    assert "no patient is left to test the average" in card
    for text in (
        "Research use only", "CC0", "drawn <by> code", exported.prepared.digest, "protocol `patient`",
        "| balanced accuracy |", "onnxruntime >= 1.18, numpy", "medtune predict", "onnxruntime-gpu", exported.key,
        "Prediction sets: ", "The coverage was not measured on test images.",
    ):  # fmt: skip
        assert text in card, text
    assert "{{" not in card
    assert "{%" not in card


def test_run__rejects_a_graph_that_differs_from_the_evaluation(exported, tmp_path):
    """Replace the predictions of stage evaluate: the export must fail and publish nothing."""
    world = exported.world.paths
    paths = RunPaths(tmp_path / "other", world.cache, frozen_out=world.out, data=world.prepared)
    forged = partial_dir(paths.stage("evaluate"))
    shutil.copytree(exported.evaluated.folder, forged)
    path = forged / "predictions.csv"
    rows = list(csv.DictReader(path.open()))
    for row in rows:
        row["prob_class0"], row["prob_class1"] = row["prob_class1"], row["prob_class0"]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    record = exported.evaluated.result()
    commit(paths.stage("evaluate"), record["key"], {name: record[name] for name in record.keys() - {"key", "files"}})
    with pytest.raises(RuntimeError, match=r"differs from predictions\.csv by"):
        export.run(exported.params, paths)
    assert not paths.stage("export").exists()


def test_run__single_fold_has_leaks_in_the_card_and_no_rejected_precision(make_world):
    export_case = build(make_world(classes=3, test_fold=1, protocol="image"), fp16_tolerance=1e-9, opset=18)
    artifact = export_case.run()
    document = json.loads((artifact.folder / "bundle.json").read_text())
    assert document["decision"] == {"kind": "argmax"}
    assert [member["fold"] for member in document["members"]] == [0, 1, 2]
    assert document["precisions"]["fp16"]["shipped"] is False
    assert "export allows 1e-09" in document["precisions"]["fp16"]["reason"]
    assert not (artifact.folder / "model.fp16.onnx").exists()
    assert document["precisions"]["fp32"]["shipped"]
    card = (artifact.folder / "MODEL_CARD.md").read_text()
    assert "Leak: 9 of 9 patients" in card
    assert "no: outputs differ" in card


def test_calibration__selects_only_training_images_reproducibly(make_world):
    world = make_world()
    prepared = load_prepared(world.paths.prepared)
    params = world.params.model_copy(
        update={"export": world.params.export.model_copy(update={"calibration_images": 6})}
    )
    calibration_images = image_export.calibration(params, prepared, [1])
    train = prepared.indices(1)["train"]
    rows = [next(r for r in range(45) if np.array_equal(prepared.images[r], image)) for image in calibration_images]
    assert set(rows) <= set(train)
    assert np.bincount(prepared.labels[rows]).tolist() == [3, 3]
    np.testing.assert_array_equal(calibration_images, image_export.calibration(params, prepared, [1]))


def test_key__depends_on_inputs(exported):
    evaluated = exported.evaluated
    other_evaluated = type(evaluated)(evaluated.path, evaluated.key, "1" * 64)
    assert export_key(exported.params, other_evaluated, exported.world.trained) != exported.key
    assert export_key(exported.params, evaluated, exported.world.trained[:2]) != exported.key
    changed = exported.params.model_copy(update={"export": exported.params.export.model_copy(update={"opset": 21})})
    assert export_key(changed, evaluated, exported.world.trained) != exported.key
    other_frozen = exported.params.model_copy(
        update={"frozen": exported.params.frozen.model_copy(update={"epochs": 7})}
    )
    assert export_key(other_frozen, evaluated, exported.world.trained) == exported.key
