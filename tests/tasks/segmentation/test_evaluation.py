"""Evaluation of label maps: post-processing, predictions, baseline, uncertainty and the files of the evaluation."""

import json
from dataclasses import replace
from functools import partial

import nibabel
import numpy as np
import pytest

from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.evaluation.baselines import verdict, verdict_metric
from medtune.evaluation.external import external_facts
from medtune.evaluation.external_split import evaluate_external
from medtune.evaluation.facts import common_facts
from medtune.evaluation.intervals import intervals
from medtune.evaluation.outputs import EXTERNAL, OutputsRequest
from medtune.evaluation.result import EvaluationResult
from medtune.runtime.artifact import commit, partial_dir
from medtune.runtime.paths import RunPaths
from medtune.serving.volumes.pipeline import PostProcessing, Segmentation
from medtune.tasks import base
from medtune.tasks.segmentation import Params, controls, evaluation, prior_map
from medtune.tasks.segmentation.case_metrics import case_metrics
from medtune.tasks.segmentation.label_maps import write_label_maps
from medtune.tasks.segmentation.outputs import SegmentedVolumes
from medtune.tasks.segmentation.slab_recorder import RecordedSegmentation
from medtune.tasks.segmentation.temperature_grid import TEMPERATURES
from medtune.tasks.segmentation.uncertainty import uncertainty_facts
from medtune.tasks.segmentation.voxel_samples import VoxelSample
from tests.volume_world import write_prepared_volumes

METRICS = base.metrics("segmentation")
LABELS = {"upper organ": 1, "lower organ": 2, "lesion": 3}


@pytest.fixture(scope="module")
def params():
    return validate(
        {
            "task": {"kind": "segmentation"},
            "data": {"source": "phantom", "patients": 12, "size": 16, "split": {"folds": 3, "test_fold": "all"}},
            "model": {"backbone": "none", "weights": "none", "head": {"kind": "decoder"}, "peft": {"method": "none"}},
            "schedule": "frozen",
            "frozen": {"monitor": "dice"},
            "finetune": {"monitor": "dice"},
            "gate": {"metric": "dice"},
        }
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, params):
    folder = tmp_path_factory.mktemp("volumes") / "prepared"
    write_prepared_volumes(folder, params)
    return load_prepared(folder)


@pytest.fixture(scope="module")
def requests(tmp_path_factory, params, prepared):
    paths = RunPaths(tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("cache"))
    found = []
    for fold in range(3):
        folder = paths.stage("frozen", fold)
        partial_dir(folder).mkdir(parents=True)
        artifact = commit(folder, f"key{fold}", {"stage": "frozen", "fold": fold, "kept": "frozen"})
        found.append(OutputsRequest.for_artifact(artifact, prepared))
    return found


def degraded(prepared, row: int) -> Segmentation:
    """Return the truth shifted by up to one voxel, with a distant component of the first label in each patient."""
    draw = np.random.default_rng(row)
    truth = np.asarray(prepared.volumes.truth(row))
    shift = draw.integers(0, 2, 3)
    mask = np.roll(truth, shift, (0, 1, 2))
    mask[0, 0, :2] = 1
    present = [bool((mask == value).any()) for value in LABELS.values()]
    doubt = 0.05 + 0.1 * shift.sum() + 0.01 * draw.random()
    return Segmentation(mask, tuple(doubt if found else np.nan for found in present))


def outputs_of(prepared, requests, options: Params, output=degraded):
    return [
        {
            split: SegmentedVolumes([partial(output, prepared, row) for row in rows.tolist()], options)
            for split, rows in request.indices.items()
        }
        for request in requests
    ]


@pytest.fixture(scope="module")
def outputs(prepared, requests, params):
    return outputs_of(prepared, requests, params.task)


@pytest.fixture(scope="module")
def folds(prepared, requests, outputs, params):
    return evaluation.evaluate_folds(requests, outputs, prepared, params.evaluate)


def test_evaluate_folds__tests_every_volume_once_on_its_own_grid(prepared, folds, params):
    pooled = evaluation.pool([fold.test for fold in folds])
    assert sorted(pooled.rows.tolist()) == list(range(12))
    row = int(pooled.rows[3])
    entry = prepared.volumes.entries[row]
    mask = PostProcessing((1,)).apply(degraded(prepared, row).labels, 3, entry.spacing)
    assert (pooled.maps[3]() == mask).all()
    assert mask.shape == tuple(entry.original_shape)
    expected = case_metrics(prepared.volumes.truth(row), mask, entry.spacing, LABELS, 1.0)
    assert [repr(case) for case in pooled.cases[3]] == [repr(case) for case in expected]
    assert pooled.stats(params.evaluate).n_patients == 12


def test_evaluate_folds__keeps_the_largest_component_only_of_the_label_that_gains(folds, prepared, params):
    for fold in folds:
        assert fold.rules.post_processing.largest == (1,)
        assert fold.rules.evidence["labels"]["upper organ"]["improved"] == fold.rules.evidence["patients"] == 8
        assert fold.record()["decision"]["largest"] == [1]
    decision = evaluation.choose_decision(folds, prepared, params.evaluate)
    assert decision["evidence"]["patients"] == 12
    assert PostProcessing.from_document(decision) == PostProcessing((1,))
    json.dumps(decision, allow_nan=False)


@pytest.mark.parametrize(("mode", "largest"), [("all", (1, 2, 3)), ("none", ())])
def test_evaluate_folds__follows_the_setting(prepared, requests, params, mode, largest):
    options = params.task.model_copy(update={"largest_component": mode, "min_volume_mm3": 5.0})
    outputs = outputs_of(prepared, requests[:1], options)
    (fold,) = evaluation.evaluate_folds(requests[:1], outputs, prepared, params.evaluate)
    assert fold.rules.post_processing == PostProcessing(largest, 5.0)
    decision = evaluation.choose_decision([fold], prepared, params.evaluate)
    assert PostProcessing.from_document(decision) == fold.rules.post_processing
    assert evaluation.fit_rules(requests[:1], outputs, prepared, params.evaluate).post_processing == PostProcessing(
        largest, 5.0
    )


def test_from_bundle__equals_the_fold_with_the_same_post_processing(prepared, requests, outputs, folds, params):
    fold, request = folds[0], requests[0]
    rows = request.indices["test"]
    document = {
        "classes": list(LABELS),
        "params": {"task": params.task.model_dump()},
        "volumes": {"post_processing": fold.rules.post_processing.document()},
    }
    segmentations = [degraded(prepared, row) for row in rows.tolist()]
    for output in (segmentations, outputs[0]["test"]):
        predictions = evaluation.from_bundle(prepared, rows, output, document)
        assert repr(predictions.cases.tolist()) == repr(fold.test.cases.tolist())
        assert (predictions.maps[1]() == fold.test.maps[1]()).all()


def test_from_bundle__uses_the_temperature_of_the_decision(prepared, params):
    def recorded(row: int) -> RecordedSegmentation:
        mask = np.asarray(prepared.volumes.truth(row))
        voxels = VoxelSample(np.zeros(9, np.uint8), np.tile(np.array([[0.9, 0.05, 0.05, 0]], np.float32), (9, 1)))
        doubt = np.outer(np.log(TEMPERATURES) + 2, np.array([0.1, 0.2, np.nan]))
        return RecordedSegmentation(mask, (0.2, 0.4, np.nan), doubt, voxels)

    rows = np.array([1, 3])
    outputs = SegmentedVolumes([partial(recorded, row) for row in rows.tolist()], params.task)
    decision = {**PostProcessing().document(), "temperature": 2.0}
    for document in ({"decision": decision}, {"volumes": {"post_processing": decision, "temperature": 2.0}}):
        found = evaluation.from_bundle(prepared, rows, outputs, document)
        expected = [0.1 * (np.log(2) + 2), 0.2 * (np.log(2) + 2), np.nan]
        np.testing.assert_allclose(found.uncertainty, [expected] * 2, rtol=1e-9)
        calibration = evaluation.calibration_facts([], found, 0.95)
        assert calibration["test"]["ece_after"]["value"] > calibration["test"]["ece_before"]["value"]
    older = evaluation.from_bundle(prepared, rows, outputs, {"decision": PostProcessing().document()})
    np.testing.assert_array_equal(older.uncertainty, [[0.2, 0.4, np.nan]] * 2)


def test_read_predictions__restores_the_statistics_exactly(tmp_path, prepared, folds, params):
    pooled = evaluation.pool([fold.test for fold in folds])
    evaluation.write_predictions(tmp_path / "predictions.csv", prepared, pooled)
    stored, stats = evaluation.read_predictions(tmp_path / "predictions.csv"), pooled.stats(params.evaluate)
    for name in stats.sums:
        assert (stored.stats.sums[name] == stats.sums[name]).all(), name
        assert (stored.stats.counts[name] == stats.counts[name]).all(), name
    assert stored.stats.labels == tuple(LABELS)
    assert stored.support == {"upper organ": 12, "lower organ": 12, "lesion": 8}
    other = pooled.select(np.arange(11))
    evaluation.write_predictions(tmp_path / "fewer.csv", prepared, other)
    assert evaluation.read_predictions(tmp_path / "fewer.csv").images != stored.images


def test_compare_baselines__a_prediction_without_the_image_is_worse(prepared, requests, outputs, folds, params):
    pooled = evaluation.pool([fold.test for fold in folds])
    (entry,) = evaluation.compare_baselines(requests, outputs, prepared, pooled, METRICS, params.evaluate)
    assert entry["name"] == prior_map.NAME
    assert (
        0 < entry["test"]["dice"]["value"] < pooled.stats(params.evaluate).weighted(np.ones((1, 12))).macro("dice")[0]
    )
    difference = entry["difference"]["dice"]
    assert difference["lo"] < difference["value"] < difference["hi"]
    assert verdict([entry], verdict_metric(METRICS)) is None


def test_uncertainty_facts__a_doubtful_volume_has_a_lower_dice(prepared, folds):
    pooled = evaluation.pool([fold.test for fold in folds])
    found = uncertainty_facts(prepared, folds, pooled, 0.95)
    organ = found["uncertainty"]["labels"][0]
    assert (organ["label"], organ["n_patients"]) == ("upper organ", 12)
    assert organ["lo"] < organ["correlation"] < organ["hi"] < 0
    assert len(found["flagged"]) == found["uncertainty"]["n_flagged"]
    # Every volume is a validation volume of one fold and a test volume of another one.
    assert 1 <= len(found["flagged"]) <= 2
    assert all(entry["uncertainty"] > found["uncertainty"]["limit"] for entry in found["flagged"])
    without = uncertainty_facts(prepared, [], pooled, 0.95)
    assert (without["flagged"], without["uncertainty"]["limit"]) == ([], None)


def test_write_label_maps__have_the_affine_of_the_file(tmp_path, prepared, folds):
    pooled = evaluation.pool([folds[0].test, folds[0].test.select(np.array([0]))])
    paths = write_label_maps(tmp_path / "segmentations", prepared, pooled)
    assert [path.name for path in paths[-2:]] == [
        f"{prepared.paths[pooled.rows[-2]]}.nii.gz", f"{prepared.paths[pooled.rows[0]]}-2.nii.gz",
    ]  # fmt: skip
    image = nibabel.load(paths[1])
    assert (np.asarray(image.dataobj) == pooled.maps[1]()).all()
    assert image.get_data_dtype() == np.uint8
    expected = np.array(prepared.volumes.entries[int(pooled.rows[1])].affine)
    assert np.allclose(image.affine, expected, atol=1e-4)


def test_limits__are_left_to_the_number_of_patients(folds, params):
    stats = evaluation.pool([fold.test for fold in folds]).stats(params.evaluate)
    assert evaluation.limits(params.gate) == []
    assert stats.patients_per_class().tolist() == [12, 12, 8]


def test_write__writes_all_files_and_the_report_names_the_baseline(
    tmp_path, prepared, requests, outputs, folds, params
):
    options = params.evaluate
    pooled, val = (evaluation.pool([getattr(fold, name) for fold in folds]) for name in ("test", "val"))
    test = intervals([*METRICS, *evaluation.class_metrics(prepared)], pooled.stats(options), options.confidence)
    result = EvaluationResult(prepared, requests, outputs, folds, pooled, test, trained=folds)
    decision = evaluation.choose_decision(folds, prepared, options)
    facts = common_facts(result, params, "key", METRICS, decision, val) | evaluation.facts(result, options)
    facts["baselines"] = evaluation.compare_baselines(requests, outputs, prepared, pooled, METRICS, options)
    facts |= {"subgroups": [], "final": {"kind": "ensemble", "what": "The exported model averages <all>."}}
    history = [{"epoch": 1, "stage": "frozen", "folds": 3, "train/loss": 1.0, "val/loss": 1.1, "val/dice": 0.4}]
    images = evaluation.write(tmp_path, result, options, facts, history)
    assert {path.stem for path in images} == {
        "dice", "sizes", "history", "case_worst", "case_median", "case_best",
    }  # fmt: skip
    assert all(path.is_file() for path in images)
    assert len(list((tmp_path / "segmentations").iterdir())) == 12
    assert len((tmp_path / "cases.csv").read_text().splitlines()) == 1 + 12 * 3
    page = (tmp_path / "report.html").read_text()
    assert "mean mask of the training volumes" in page
    assert "baseline: mean mask of the training volumes" in page
    assert controls.NOTE in page
    assert "averages &lt;all&gt;" in page
    assert "12 volumes of 12 patients" in page
    assert len(page) < 3_000_000


def test_write__accepts_a_bundle_on_external_data(tmp_path, prepared, params):
    options, rows = params.evaluate, np.arange(12)
    document = {"classes": list(LABELS), "volumes": {"post_processing": PostProcessing((1,)).document()}}
    pooled = evaluation.from_bundle(prepared, rows, [degraded(prepared, row) for row in rows.tolist()], document)
    test = intervals(METRICS, pooled.stats(options), options.confidence)
    result = EvaluationResult(prepared, (), (), (), pooled, test, document)
    external = {"bundle": "b1", "precision": "fp32", "rule": "largest component of upper organ"}
    facts = external_facts(prepared, pooled, document, options, external, [], "key")
    facts |= evaluation.facts(result, options) | {"subgroups": []}
    images = evaluation.write(tmp_path, result, options, facts, [])
    assert {path.stem for path in images} == {"dice", "sizes", "case_worst", "case_median", "case_best"}
    page = (tmp_path / "report.html").read_text()
    assert "largest component of upper organ" in page
    assert "of a bundle on external volumes" in page


def test_evaluate_external__uses_the_decision_of_the_exported_model(prepared, requests, outputs, folds, params):
    external = np.array([2, 5])
    loaders = [partial(degraded, prepared, row) for row in external.tolist()]
    members = [{EXTERNAL: SegmentedVolumes(loaders, params.task)} for _ in folds]
    of_members = [replace(request, indices={EXTERNAL: external}) for request in requests]
    decision = {"kind": "post_processing", **PostProcessing((1, 2)).document()}
    document, predictions = evaluate_external(
        evaluation, [fold.rules for fold in folds], of_members, members, prepared, decision, params.evaluate, METRICS
    )
    assert (document["n_images"], document["n_patients"]) == (2, 2)
    spacing = prepared.volumes.entries[5].spacing
    expected = PostProcessing((1, 2)).apply(degraded(prepared, 5).labels, 3, spacing)
    assert (predictions.maps[1]() == expected).all()
