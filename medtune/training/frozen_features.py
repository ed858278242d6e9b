"""Features of the backbone before training, from the feature cache, for logistic-regression baselines."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.models.backbones import create_backbone, token_shape
from medtune.models.classifier import Classifier
from medtune.models.normalization import normalization
from medtune.training.feature_cache import compute_features
from medtune.training.feature_store import FeatureStore

CLASS_TOKEN, MEAN = "class_token", "mean_feature"


class FrozenFeatures:
    """Class token and mean feature of images from the backbone before training.

    Attributes:
        store: the stored features.
        names: names of the features: `class_token`, if the backbone has one, and `mean_feature`.
    """

    def __init__(self, store: FeatureStore, channels: int) -> None:
        """Wrap the stored features (n, 1, C or 2C) of a backbone with C = `channels`."""
        self.store, self._channels = store, channels
        doubled = store.arrays[0].shape[2] == 2 * channels
        self.names: tuple[str, ...] = (CLASS_TOKEN, MEAN) if doubled else (MEAN,)

    def fetch(self, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the features `name` (n, C) of the images `rows` (n,)."""
        both = self.store.fetch(rows).numpy()[:, 0].astype(np.float32)
        return both[:, : self._channels] if name == CLASS_TOKEN else both[:, -self._channels :]


def compute_frozen_features(
    params: Params, prepared: PreparedDataset, rows: npt.NDArray[np.int64], cache: Path, device: str
) -> FrozenFeatures:
    """Read features from the cache and compute those that are missing.

    Args:
        params: all params.
        prepared: the prepared data set.
        rows: image indices.
        cache: folder of the cache.
        device: torch device of the backbone.

    Returns:
        The features of `rows`.
    """
    import torch
    from torch import nn

    torch.manual_seed(params.seed)  # the same initialization as in training, for a backbone without pretrained weights
    backbone = create_backbone(params)
    shape = token_shape(backbone, params.data.image_size)
    model = Classifier(backbone, nn.Identity(), "summary", *normalization(params, backbone)).to(device).eval()
    return FrozenFeatures(compute_features(model, prepared, params, [rows], cache, device), shape.channels)
