"""Files of the evaluation, for trained networks and for a bundle on external data."""

from dataclasses import replace
from functools import partial

import numpy as np

from medtune.evaluation.external import external_facts
from medtune.evaluation.external_split import evaluate_external
from medtune.evaluation.facts import common_facts
from medtune.evaluation.intervals import intervals
from medtune.evaluation.outputs import EXTERNAL
from medtune.evaluation.result import EvaluationResult
from medtune.serving.volumes.pipeline import PostProcessing
from medtune.tasks.segmentation import controls, evaluation
from medtune.tasks.segmentation.outputs import SegmentedVolumes
from tests.tasks.segmentation.degraded_volumes import LABELS, METRICS, degraded


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
    external = {"bundle": "b1", "precision": "fp32", "rule": "largest component of upper organ",
                "training_controls": ["The backbone adds <nothing>"]}  # fmt: skip
    facts = external_facts(prepared, pooled, document, options, external, [], "key")
    facts |= evaluation.facts(result, options) | {"subgroups": []}
    images = evaluation.write(tmp_path, result, options, facts, [])
    assert {path.stem for path in images} == {"dice", "sizes", "case_worst", "case_median", "case_best"}
    page = (tmp_path / "report.html").read_text()
    assert "largest component of upper organ" in page
    assert "of a bundle on external volumes" in page
    assert "controls of the training did not predict these volumes" in page
    assert "<li>The backbone adds &lt;nothing&gt;.</li>" in page


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
