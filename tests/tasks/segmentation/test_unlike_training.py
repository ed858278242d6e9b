"""Test volumes that differ from the training volumes of their fold."""

from dataclasses import replace

import numpy as np
import pytest

from medtune.serving.volumes.network_features import FeatureLimit
from medtune.tasks.segmentation import evaluation
from medtune.tasks.segmentation.unlike_training import (
    TrainingVolumes,
    choose_limit,
    extend_request,
    measure_range,
    unlike_facts,
)
from tests.tasks.segmentation.degraded_volumes import degraded, outputs_of


def with_features(prepared, row, unlike=-1):
    """Return a segmentation with five random features, which are shifted for the volume `unlike`."""
    features = np.random.default_rng(row).normal(size=(1, 5)) + 20 * (row == unlike)
    return replace(degraded(prepared, row), features=features)


@pytest.fixture
def all_requests(requests, prepared):
    """Return requests that include the training volumes."""
    return [extend_request(request, prepared) for request in requests]


def test_evaluate_folds__flags_the_volume_with_unlike_features(all_requests, prepared, params):
    flagged = []
    for row in (-1, int(all_requests[0].indices["test"][1])):
        outputs = outputs_of(
            prepared, all_requests, params.task, lambda prepared, index, row=row: with_features(prepared, index, row)
        )
        fold = evaluation.evaluate_folds(all_requests, outputs, prepared, params.evaluate)[0]
        flagged.append(any("network features" in phrase for phrase in fold.test.flags[1]))
    assert flagged == [False, True]
    limit = fold.rules.feature_limit
    assert (limit.patients, limit.width) == (8, 5)
    assert fold.rules.decision()["feature_limit"] == limit.document()
    other = FeatureLimit(1e9, 0.95, 8, 5)
    flags = fold.training.flags(prepared, all_requests[0].indices["test"], outputs[0]["test"], other)
    assert not any("network features" in phrase for phrases in flags for phrase in phrases)


def test_measure__uses_only_the_training_volumes_of_the_fold(all_requests, prepared, params):
    request = all_requests[0]
    (outputs,) = outputs_of(prepared, [request], params.task, with_features)
    found = TrainingVolumes.measure(prepared, request, outputs)
    train, test = request.indices["train"], request.indices["test"]
    np.testing.assert_allclose(
        found.space.center, np.mean([with_features(prepared, row).features[0] for row in train], axis=0)
    )
    assert found.range == measure_range(prepared, train) != measure_range(prepared, np.concatenate([train, test]))
    assert found.val.tolist() == request.indices["val"].tolist()
    # A volume outside of the range of these volumes is flagged, also without features.
    narrow = replace(found, range=measure_range(prepared, train[:1]), space=None)
    everything = narrow.flags(prepared, test, outputs["test"], None)
    assert any(phrase.startswith("spacing") for phrases in everything for phrase in phrases)
    assert narrow.flags(prepared, train[:1], outputs["train"], None)[0] == ()


def test_choose_limit__leaves_out_the_tested_patients(all_requests, prepared, params):
    outputs = outputs_of(prepared, all_requests, params.task, with_features)
    training = [
        TrainingVolumes.measure(prepared, request, by_split)
        for request, by_split in zip(all_requests, outputs, strict=True)
    ]
    assert choose_limit(training, prepared).patients == 12
    assert choose_limit(training, prepared, all_requests[0].indices["test"]).patients == 8
    assert choose_limit([replace(volumes, space=None) for volumes in training], prepared) is None


def test_evaluate_folds__without_features_compares_spacing_and_intensity(folds):
    assert all(fold.rules.feature_limit is None and fold.training.space is None for fold in folds)
    assert all(isinstance(phrases, tuple) for fold in folds for phrases in fold.test.flags)


def test_unlike_facts__counts_volumes_by_kind():
    flags = [(), ("spacing x 1 mm", "spacing y 1 mm"), ("relative intensity of CT", "network features: distance 3")]
    facts = unlike_facts(["a", "b", "c"], flags, [None, FeatureLimit(2.0, 0.95, 20, 4)])
    assert [row["volume"] for row in facts["unlike"]] == ["b", "c"]
    summary = facts["unlike_training"]
    assert (summary["n_volumes"], summary["n_flagged"]) == (3, 2)
    assert summary["by_difference"] == {"spacing": 1, "field of view": 0, "intensity": 1, "network features": 1}
    assert summary["feature_limits"] == [{"limit": 2.0, "share": 0.95, "patients": 20, "width": 4}]
