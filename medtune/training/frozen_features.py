"""Features of the pretrained backbone for the logistic-regression baselines, from the feature store."""

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
    """Class token and mean feature of some images by the backbone as it was before training.

    Attributes:
        names: the features that this backbone has: `class_token`, if there is one, and `mean_feature`.
    """

    def __init__(self, store: FeatureStore, channels: int) -> None:
        """Take the stored features (n, 1, C or 2C) of a backbone with C channels."""
        self._store, self._channels = store, channels
        doubled = store.arrays[0].shape[2] == 2 * channels
        self.names: tuple[str, ...] = (CLASS_TOKEN, MEAN) if doubled else (MEAN,)

    def fetch(self, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(n, C) features `name` of the images `rows` (n,)."""
        both = self._store.fetch(rows).numpy()[:, 0].astype(np.float32)
        return both[:, : self._channels] if name == CLASS_TOKEN else both[:, -self._channels :]


def compute_frozen_features(
    params: Params, prepared: PreparedDataset, rows: npt.NDArray[np.int64], cache: Path, device: str
) -> FrozenFeatures:
    """Read the features of `rows` from the store, computing those that are not there.

    Args:
        params: all params.
        prepared: the packed set.
        rows: images whose features are asked for.
        cache: folder of the store.
        device: where the backbone runs.
    """
    import torch
    from torch import nn

    torch.manual_seed(params.seed)  # a backbone without weights is that of training
    backbone = create_backbone(params)
    shape = token_shape(backbone, params.data.image_size)
    model = Classifier(backbone, nn.Identity(), "summary", *normalization(params, backbone)).to(device).eval()
    return FrozenFeatures(compute_features(model, prepared, params, [rows], cache, device), shape.channels)
