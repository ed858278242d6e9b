"""Slides as bags of stored features: what a head that pools tiles is trained on."""

from typing import Any

import numpy as np
import torch

from medtune.data.slide_dataset import SlideDataset
from medtune.models.attention_pooling import Bags
from medtune.tasks.base import SpatialTransform
from medtune.training.augmentation import Geometry, PerSampleRng
from medtune.training.feature_store import FeatureStore
from medtune.training.replicas import ALL_ROWS
from medtune.training.transfer import to_device


class BagSource:
    """Rows of a set of slides as `Bags`; memory is that of one batch of slides."""

    def __init__(self, store: FeatureStore, slides: SlideDataset, device: torch.device) -> None:
        """Group the tiles of `store` by the slides of `slides`."""
        assert slides.slide_index is not None
        self.store, self.device = store, device
        order = np.argsort(slides.slide_index, kind="stable")
        counts = np.bincount(slides.slide_index, minlength=len(slides.paths))
        self.tiles = np.split(order, np.cumsum(counts)[:-1])

    def train(
        self, indices: np.ndarray, generator: torch.Generator, selected: slice = ALL_ROWS
    ) -> tuple[Any, SpatialTransform]:
        """Bags of slides, float32; all tiles of a slide are in one of the stored views, drawn for the slide."""
        views = PerSampleRng(generator, len(indices), selected).integers(self.store.views)
        return self._bags(indices[selected], views.numpy()), Geometry(views)

    def score(self, indices: np.ndarray) -> Any:
        """Bags of slides, float32, view 0."""
        return self._bags(indices, np.zeros(len(indices), np.int64))

    def _bags(self, slides: np.ndarray, views: np.ndarray) -> Bags:
        tiles = [self.tiles[row] for row in slides.tolist()]
        sizes = [len(own) for own in tiles]
        features = self.store.fetch(np.concatenate(tiles), np.repeat(views, sizes))
        return Bags(to_device(features, self.device).float(), sizes)
