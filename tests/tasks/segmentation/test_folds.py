"""Rules of each fold, and the predictions of its test volumes."""

import json

import pytest

from medtune.serving.volumes.pipeline import PostProcessing
from medtune.tasks.segmentation import evaluation
from medtune.tasks.segmentation.case_metrics import case_metrics
from tests.tasks.segmentation.degraded_volumes import LABELS, degraded, outputs_of


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
