"""Solver of the logistic head: equality with scikit-learn for any scale of the features."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from medtune.tasks.classification.training import CrossEntropy, class_weights
from medtune.tasks.multilabel.training import BinaryCrossEntropy
from medtune.training import logistic
from medtune.training.feature_store import FeatureShard, FeatureStore
from medtune.training.logistic import FeatureProblem

CPU = torch.device("cpu")


def problem(seed=0, n=90, channels=6, classes=3, views=1, scale=1.0):
    """Create a store of random half-precision features, the labels and the training rows."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, n)
    centers = draw.normal(size=(classes, channels))
    features = [centers[labels] + draw.normal(size=(n, channels)) + 3 for _ in range(views)]
    shards = [[FeatureShard(np.arange(n), (scale * x)[:, None].astype(np.float16))] for x in features]
    return FeatureStore(n, shards), labels, np.flatnonzero(draw.random(n) < 0.8)


def scaled(store, rows):
    """Stack the features of all views, centered and divided by their common scale."""
    stacked = [store.fetch(rows, np.full(len(rows), view)).double().numpy()[:, 0] for view in range(store.views)]
    x = np.concatenate(stacked)
    mean = x.mean(0)
    return (x - mean) / np.sqrt(np.square(x - mean).sum(1).mean()), x


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("strength", [0.1, 2.0, 50.0])
def test_solve__equals_scikit_learn(views, strength):
    store, labels, rows = problem(views=views)
    weights = class_weights("auto", ("a", "b", "c"), labels[rows])
    solution = FeatureProblem(store, rows, labels, CrossEntropy(weights), 3, CPU).solve(strength)
    z, x = scaled(store, rows)
    reference = LogisticRegression(C=strength / views, class_weight="balanced", tol=1e-10, max_iter=10_000)
    reference.fit(z, np.tile(labels[rows], views))
    logits = torch.from_numpy(x).float() @ solution.weight.T + solution.bias
    assert np.allclose(logits.softmax(1).numpy(), reference.predict_proba(z), atol=2e-4)


def test_solve__does_not_depend_on_the_unit_of_the_features():
    outputs = []
    for scale in (1.0, 16.0):
        store, labels, rows = problem(scale=scale)
        solution = FeatureProblem(store, rows, labels, CrossEntropy(), 3, CPU).solve(1.0)
        outputs.append(store.fetch(rows).float()[:, 0] @ solution.weight.T + solution.bias)
    assert torch.allclose(outputs[0], outputs[1], atol=1e-2)  # half precision rounds differently


def test_solve__streams_features_that_do_not_fit_in_memory(monkeypatch):
    store, labels, rows = problem()
    in_memory = FeatureProblem(store, rows, labels, CrossEntropy(), 3, CPU).solve(1.0)
    monkeypatch.setattr(logistic, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(logistic, "CHUNK", 7)
    streamed = FeatureProblem(store, rows, labels, CrossEntropy(), 3, CPU).solve(1.0)
    assert torch.allclose(in_memory.weight, streamed.weight, atol=1e-5)
    assert torch.allclose(in_memory.bias, streamed.bias, atol=1e-5)


def test_solve__is_independent_per_finding():
    store, _, rows = problem()
    targets = np.random.default_rng(1).integers(0, 2, (90, 4)).astype(np.uint8)
    together = FeatureProblem(store, rows, targets, BinaryCrossEntropy(), 4, CPU).solve(1.0)
    alone = FeatureProblem(store, rows, targets[:, 2:3], BinaryCrossEntropy(), 1, CPU).solve(1.0)
    assert torch.allclose(together.weight[2], alone.weight[0], atol=1e-4)


def test_solve__finds_the_same_optimum_from_another_start():
    store, labels, rows = problem()
    feature_problem = FeatureProblem(store, rows, labels, CrossEntropy(), 3, CPU)
    cold, warm = feature_problem.solve(5.0), feature_problem.solve(5.0, feature_problem.solve(1.0))
    assert torch.allclose(cold.weight, warm.weight, atol=1e-4)


def test_solve__constant_features_predict_the_class_frequencies():
    store = FeatureStore(8, [[FeatureShard(np.arange(8), np.ones((8, 1, 4), np.float16))]])
    labels = np.array([0, 0, 0, 1, 0, 0, 0, 1])
    solution = FeatureProblem(store, np.arange(8), labels, CrossEntropy(), 2, CPU).solve(1.0)
    logits = store.fetch(np.arange(8)).float()[:, 0] @ solution.weight.T + solution.bias
    assert torch.allclose(logits.softmax(1)[:, 1], torch.full((8,), 0.25), atol=1e-4)
