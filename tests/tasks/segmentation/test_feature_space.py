"""Distance of features from those of the training volumes."""

import numpy as np
import pytest

from medtune.tasks.segmentation import feature_space
from medtune.tasks.segmentation.feature_space import (
    FeatureSpace,
    feature_limit,
    read_space,
    stack,
    training_rows,
    write_spaces,
)


def draw(n: int, seed: int, axes: np.ndarray) -> np.ndarray:
    return 3 + np.random.default_rng(seed).normal(size=(n, len(axes))) @ axes


@pytest.fixture
def axes():
    rng = np.random.default_rng(9)
    return np.linalg.qr(rng.normal(size=(30, 30)))[0] * np.geomspace(3, 0.01, 30)[:, None]


def test_fit__unlike_features_are_far_although_there_are_fewer_volumes_than_features(axes):
    space = FeatureSpace.fit(draw(20, 0, axes))
    like = np.linalg.norm(space.whiten(draw(50, 1, axes)), axis=1)
    # The same variances, but without the correlations of the training volumes.
    unlike = draw(50, 2, np.diag(np.sqrt((axes**2).sum(axis=0))))
    assert (np.linalg.norm(space.whiten(unlike), axis=1) > np.percentile(like, 95)).mean() > 0.9
    assert np.linalg.norm(space.whiten(draw(20, 0, axes)).mean(axis=0)) < 1e-9
    # The mean of windows is mapped like the windows.
    windows = draw(4, 3, axes)
    np.testing.assert_allclose(space.whiten(windows).mean(axis=0), space.whiten(windows.mean(axis=0)))


def test_fit__equal_volumes_have_a_finite_map():
    space = FeatureSpace.fit(np.ones((3, 4)))
    assert np.isfinite(space.whitening).all()
    assert np.linalg.norm(space.whiten(np.ones(4))) == 0


def test_spaces__are_read_by_fold(tmp_path, axes):
    space = FeatureSpace.fit(draw(20, 0, axes))
    write_spaces(tmp_path / "features.npz", {0: None, 2: space})
    found = read_space(tmp_path / "features.npz", 2)
    np.testing.assert_allclose(found.whiten(draw(2, 1, axes)), space.whiten(draw(2, 1, axes)), rtol=1e-3, atol=1e-3)
    assert read_space(tmp_path / "features.npz", 0) is None
    write_spaces(tmp_path / "none.npz", {0: None})
    assert not (tmp_path / "none.npz").exists()
    assert read_space(tmp_path / "none.npz", 0) is None


def test_training_rows__are_training_volumes_at_equal_distances(prepared, monkeypatch):
    train = prepared.indices(1)["train"].tolist()
    assert training_rows(prepared, 1) == train
    monkeypatch.setattr(feature_space, "MAX_VOLUMES", 2)
    assert training_rows(prepared, 1) == [train[0], train[-1]]


def test_feature_limit__flags_at_most_the_stated_fraction_of_new_patients():
    rng, flagged = np.random.default_rng(0), []
    for _ in range(300):
        distances = rng.exponential(size=40)
        limit = feature_limit(distances[:39], np.arange(39), 5)
        flagged.append(distances[39] > limit.limit)
    assert (limit.share, limit.patients, limit.width) == (0.95, 39, 5)
    assert 0.02 < np.mean(flagged) < 0.08


def test_feature_limit__needs_six_patients():
    assert feature_limit(np.arange(20.0), np.arange(20) % 5, 2) is None
    found = feature_limit(np.arange(12.0), np.arange(12) % 6, 2)
    assert (found.limit, found.share) == (11.0, 6 / 7)


def test_stack__is_unknown_if_a_volume_has_no_features():
    features = np.ones((1, 3))
    assert stack([features, features]).shape == (2, 1, 3)
    assert stack([features, None]) is None
    assert stack([]) is None
