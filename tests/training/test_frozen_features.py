"""Features of the baselines: they come from the pretrained backbone, not from the trained one."""

import numpy as np
import torch

from medtune.data.manifest import load_prepared
from medtune.models.classifier import build
from medtune.training.frozen_features import compute_frozen_features


def test_compute_frozen_features__returns_class_token_and_mean_feature(make_world):
    world = make_world()
    prepared = load_prepared(world.paths.prepared)
    rows = np.array([4, 0, 7])
    features = compute_frozen_features(world.params, prepared, np.arange(9), world.paths.cache, "cpu")
    model = build(world.params, 2)
    model.feature_kind = "all_tokens"
    with torch.no_grad():
        tokens = model.features(model.preprocess(torch.from_numpy(prepared.images[rows]))).numpy()
    assert features.names == ("class_token", "mean_feature")
    assert np.allclose(features.fetch("class_token", rows), tokens[:, 0], atol=5e-3)
    assert np.allclose(features.fetch("mean_feature", rows), tokens[:, 1:].mean(1), atol=5e-3)
