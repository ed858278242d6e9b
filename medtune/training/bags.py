"""Batches of slides for heads that pool tiles. A bag contains the stored features of all tiles of a slide."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medtune.data.slide_dataset import SlideDataset
from medtune.models.attention_pooling import Bags
from medtune.tasks.base import SpatialTransform
from medtune.training.augmentation import Geometry, PerSampleRng
from medtune.training.feature_store import FeatureStore
from medtune.training.replicas import ALL_ROWS
from medtune.training.transfer import to_device


class BagSource:
    """Batch source that loads the tile features of one batch of slides at a time as `Bags`."""

    def __init__(self, store: FeatureStore, slides: SlideDataset, device: torch.device) -> None:
        """Assign the tiles of `store` to the slides of `slides`."""
        assert slides.slide_index is not None
        self.store, self.device = store, device
        order = np.argsort(slides.slide_index, kind="stable")
        counts = np.bincount(slides.slide_index, minlength=len(slides.paths))
        self.tiles = np.split(order, np.cumsum(counts)[:-1])

    def train(
        self, indices: npt.NDArray[Any], generator: torch.Generator, selected: slice = ALL_ROWS
    ) -> tuple[Any, SpatialTransform]:
        """Load the bags of the selected slides in float32. All tiles of a slide have the same randomly drawn view."""
        views = PerSampleRng(generator, len(indices), selected).integers(self.store.views)
        return self._bags(indices[selected], views.numpy()), Geometry(views)

    def score(self, indices: npt.NDArray[Any]) -> Any:
        """Load the bags of slides in float32, with all tiles in view 0, the unchanged image."""
        return self._bags(indices, np.zeros(len(indices), np.int64))

    def _bags(self, slides: npt.NDArray[Any], views: npt.NDArray[Any]) -> Bags:
        tiles = [self.tiles[row] for row in slides.tolist()]
        sizes = [len(indices) for indices in tiles]
        features = self.store.fetch(np.concatenate(tiles), np.repeat(views, sizes))
        return Bags(to_device(features, self.device).float(), sizes)
