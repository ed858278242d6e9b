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
from medtune.runtime.artifact import commit, partial_dir, verify
from medtune.runtime.paths import RunPaths
from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError
from medtune.stages import evaluate, export
from medtune.stages.steps import export_key
from medtune.training.checkpoint import load_trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("export")]
BUILT: list[SimpleNamespace] = []


def build(world, **changes) -> SimpleNamespace:
    params = world.params.model_copy(update={"export": world.params.export.model_copy(update=changes)})
    evaluated, prepared = evaluate.run(params, world.paths), load_prepared(world.paths.prepared)
    key = export_key(params, evaluated, world.trained)
    made = SimpleNamespace(world=world, params=params, prepared=prepared, evaluated=evaluated, key=key)
    made.run = lambda: export.run(params, world.paths)
    return made


@pytest.fixture
def exported(make_world) -> SimpleNamespace:
    """Run one export for all tests that only read it."""
    if not BUILT:
        made = build(make_world())
        made.artifact = made.run()
        made.document = json.loads((made.artifact.folder / "bundle.json").read_text())
        BUILT.append(made)
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
        own = record["folds"][str(member["fold"])]
        assert (member["temperature"], member["decision"]) == (own["temperature"], own["decision"])
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
    each, mean = bundle.run_members(images), bundle.run(images)
    assert each.shape == (45, 3, 2)
    np.testing.assert_allclose(each.mean(1), mean, atol=1e-6)
    row_by_path = {row["path"]: row for row in csv.DictReader((exported.evaluated.folder / "predictions.csv").open())}
    for index, artifact in enumerate(exported.world.trained):
        network = load_trained(artifact)
        with torch.inference_mode():
            logits = network(network.preprocess(torch.from_numpy(np.array(images))))
            own = torch.softmax(logits / exported.document["members"][index]["temperature"], -1).numpy()
        np.testing.assert_allclose(each[:, index], own, atol=1e-5)
        for row in exported.prepared.indices(index)["test"]:
            assert own[row, 1] == pytest.approx(
                float(row_by_path[exported.prepared.paths[row]]["prob_class1"]), abs=1e-5
            )
    backbone = sum(p.numel() for p in network.backbone.parameters())
    graph = onnx.load(exported.artifact.folder / "model.onnx")
    stored = sum(np.prod(tensor.dims) for tensor in graph.graph.initializer)
    assert 0.9 * backbone < stored < 1.2 * backbone


def test_run__decision_of_the_graph_equals_bundle_json(exported):
    bundle = Bundle.load(exported.artifact.folder)
    images = np.ascontiguousarray(exported.prepared.images[:])
    decided, found = bundle.session.run(["decision", "probabilities"], {"images": images})
    assert (decided.dtype, decided.shape) == (np.int64, (45,))
    assert [bundle.classes[k] for k in decided] == bundle.decide(found)
    assert set(decided.tolist()) == {0, 1}
    other = {**bundle.manifest, "decision": {**bundle.manifest["decision"], "threshold": float(np.median(found[:, 1]))}}
    with pytest.raises(BundleError, match="output 'decision' of the fp32 model contradicts the decision rule"):
        Bundle(bundle.folder, other, "fp32", bundle.session)._check_decision(images)


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
    (given,), (wanted, decision, members) = graph.graph.input, graph.graph.output
    assert (decision.name, members.name) == ("decision", "members")
    assert [d.dim_value for d in members.type.tensor_type.shape.dim][1:] == [3, 2]
    assert (given.name, given.type.tensor_type.elem_type) == ("images", onnx.TensorProto.UINT8)
    assert [d.dim_value for d in given.type.tensor_type.shape.dim][1:] == [32, 32, 3]
    assert given.type.tensor_type.shape.dim[0].dim_param
    assert wanted.name == "probabilities"
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
        place = tmp_path / "images" / prepared.paths[row]
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(prepared.images[row]).save(place)
    out = tmp_path / "found.csv"
    assert call(["predict", str(exported.artifact.folder), str(tmp_path / "images"), "--out", str(out)]) == 0
    found = {row["path"].split("/images/")[1]: row for row in csv.DictReader(out.open())}
    bundle = Bundle.load(exported.artifact.folder)
    rows = dict(zip(prepared.paths, bundle.rows(bundle.run(prepared.images[:])), strict=True))
    assert set(found) == set(rows)
    for path, row in found.items():
        assert row["prediction"] == rows[path][0]
        assert float(row["prob_class1"]) == pytest.approx(rows[path][2], abs=1e-6)
    assert "45 images" in capsys.readouterr().err


def test_run__fp16_predicts_and_records_its_parity(exported):
    half = Bundle.load(exported.artifact.folder, "fp16")
    assert half.self_test() < 2e-2


def test_run__model_card_has_facts_leaks_and_known_issues(exported):
    assert "Positive class: `class1`" in (exported.artifact.folder / "MODEL_CARD.md").read_text()
    card = (exported.artifact.folder / "MODEL_CARD.md").read_text()
    assert "averages the probabilities of 3 networks" in card
    assert "no patient is left to test the average" in card
    for fact in (
        "Research use only", "CC0", "drawn <by> code", exported.prepared.digest, "protocol `patient`",
        "| balanced accuracy |", "onnxruntime >= 1.18, numpy", "medtune predict", "onnxruntime-gpu", exported.key,
        "Prediction sets: ", "The coverage was not measured on test images.",
    ):  # fmt: skip
        assert fact in card, fact
    assert "{{" not in card
    assert "{%" not in card


def test_run__rejects_a_graph_that_differs_from_the_evaluation(exported, tmp_path):
    """Replace the predictions of stage evaluate by those of another network: nothing may be published."""
    made = exported
    world = made.world.paths
    paths = RunPaths(tmp_path / "other", world.cache, frozen_out=world.out, data=world.prepared)
    forged = partial_dir(paths.stage("evaluate"))
    shutil.copytree(made.evaluated.folder, forged)
    path = forged / "predictions.csv"
    rows = list(csv.DictReader(path.open()))
    for row in rows:
        row["prob_class0"], row["prob_class1"] = row["prob_class1"], row["prob_class0"]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    record = made.evaluated.result()
    commit(paths.stage("evaluate"), record["key"], {name: record[name] for name in record.keys() - {"key", "files"}})
    with pytest.raises(RuntimeError, match=r"differs from predictions\.csv by"):
        export.run(made.params, paths)
    assert not paths.stage("export").exists()


def test_run__single_fold_has_leaks_in_the_card_and_no_rejected_precision(make_world):
    made = build(make_world(classes=3, test_fold=1, protocol="image"), fp16_tolerance=1e-9, opset=18)
    artifact = made.run()
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
    chosen = export.calibration(params, prepared, [1])
    train = prepared.indices(1)["train"]
    rows = [next(r for r in range(45) if np.array_equal(prepared.images[r], image)) for image in chosen]
    assert set(rows) <= set(train)
    assert np.bincount(prepared.labels[rows]).tolist() == [3, 3]
    np.testing.assert_array_equal(chosen, export.calibration(params, prepared, [1]))


def test_key__depends_on_inputs(exported):
    made = exported
    one = made.evaluated
    other = type(one)(one.path, one.key, "1" * 64)
    assert export_key(made.params, other, made.world.trained) != made.key
    assert export_key(made.params, one, made.world.trained[:2]) != made.key
    changed = made.params.model_copy(update={"export": made.params.export.model_copy(update={"opset": 21})})
    assert export_key(changed, one, made.world.trained) != made.key
    same = made.params.model_copy(update={"frozen": made.params.frozen.model_copy(update={"epochs": 7})})
    assert export_key(same, one, made.world.trained) == made.key
