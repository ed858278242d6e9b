"""Features of volumes and the limit of their distance."""

import numpy as np
import pytest

from medtune.serving.volumes.network_features import FeatureLimit, FeatureSums, distance

LIMIT = FeatureLimit(5.0, 0.95, 20, 2)


def test_sums__are_the_mean_over_windows_and_start_again():
    features = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    sums = FeatureSums()
    assert not sums
    for part in (features[:4], features[4:]):
        sums.add(part)
    np.testing.assert_allclose(sums.take(), features.mean(axis=0), atol=1e-6)
    sums.add(features[:1])
    np.testing.assert_allclose(sums.take(), features[0], atol=1e-6)
    assert not sums


def test_distance__is_the_mean_length_over_the_networks():
    features = np.array([[3.0, 4.0], [6.0, 8.0]])
    assert distance(features) == 7.5
    assert LIMIT.differences(features) == ["network features: distance 7.5 (limit 5)"]
    assert LIMIT.differences(features[:1]) == []
    assert LIMIT.differences(features * np.nan) == ["network features: distance nan (limit 5)"]


def test_from_document__reads_the_document():
    assert FeatureLimit.from_document(LIMIT.document()) == LIMIT
    assert FeatureLimit.from_document(None) is None


@pytest.mark.parametrize(
    "change", [{"limit": None}, {"limit": True}, {"share": -1}, {"patients": 0}, {"patients": 2.5}, {"width": "2"}]
)
def test_from_document__names_the_invalid_field(change):
    with pytest.raises(ValueError, match=rf"feature_limit\.{next(iter(change))}\" is"):
        FeatureLimit.from_document({**LIMIT.document(), **change})
    with pytest.raises(ValueError, match="expected a mapping"):
        FeatureLimit.from_document([1])
