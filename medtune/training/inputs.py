"""What the training loop is fed: stored features, or images augmented on the device."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from medtune.config.training import AugmentParams
from medtune.data.manifest import PreparedDataset
from medtune.models.classifier import Classifier
from medtune.tasks.base import SpatialTransform
from medtune.training.augmentation import Geometry, PerSampleRng, vary
from medtune.training.feature_store import FeatureStore
from medtune.training.replicas import ALL_ROWS
from medtune.training.schedule import epoch_order
from medtune.training.transfer import to_device


class BatchSource(Protocol):
    """Rows of the prepared set as a network's input."""

    def train(
        self, indices: np.ndarray, generator: torch.Generator, selected: slice
    ) -> tuple[Tensor, SpatialTransform]:
        """Input for a training step: `selected` of `indices`, randomly varied, and the geometry of its images.

        Args:
            indices: of a whole batch.
            generator: every draw comes from it, for all of `indices`, whichever are taken.
            selected: rows of the batch that this process computes.
        """

    def score(self, indices: np.ndarray) -> Tensor:
        """Input as it is when the model is used."""


class FeatureSource:
    """Features from the store, each image in a randomly drawn view."""

    def __init__(self, store: FeatureStore, device: torch.device) -> None:
        self.store, self.device = store, device

    def train(
        self, indices: np.ndarray, generator: torch.Generator, selected: slice = ALL_ROWS
    ) -> tuple[Tensor, SpatialTransform]:
        """float32 (B, N, C), one of the stored views each."""
        views = PerSampleRng(generator, len(indices), selected).integers(self.store.views)
        inputs = to_device(self.store.fetch(indices[selected], views.numpy()), self.device).float()
        return inputs, Geometry(views)

    def score(self, indices: np.ndarray) -> Tensor:
        """float32 (B, N, C), view 0."""
        return to_device(self.store.fetch(indices), self.device).float()


class PackedImageSource:
    """Normalised images from the packed uint8 set."""

    def __init__(
        self,
        prepared: PreparedDataset,
        model: Classifier,
        params: AugmentParams,
        device: torch.device,
        channels_last: bool = False,
    ) -> None:
        self.images, self.model, self.params, self.device = prepared.images, model, params, device
        self.channels_last = channels_last

    def _load(self, indices: np.ndarray) -> Tensor:
        return to_device(torch.from_numpy(self.images[indices]), self.device)

    def _with_memory_format(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def train(
        self, indices: np.ndarray, generator: torch.Generator, selected: slice = ALL_ROWS
    ) -> tuple[Tensor, SpatialTransform]:
        """(B, 3, H, W), augmented."""
        images, geometry = vary(self._load(indices[selected]), self.params, generator, len(indices), selected)
        return self._with_memory_format(self.model.normalize(images)), geometry

    def score(self, indices: np.ndarray) -> Tensor:
        """(B, 3, H, W), as they are."""
        return self._with_memory_format(self.model.preprocess(self._load(indices)))


def iterate_labeled(
    source: BatchSource, indices: np.ndarray, targets: np.ndarray, seed: int, size: int = 64
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each of `indices` once, as it is when the model is used, with its target (B, ...), in an order drawn from `seed`.

    Args:
        source: inputs of rows.
        indices: of the prepared set.
        targets: (n, ...) of the whole set.
        seed: of the order; nothing is drawn before the first batch is asked for.
        size: B.
    """
    order = epoch_order(indices, torch.Generator().manual_seed(seed))
    for start in range(0, len(order), size):
        part = order[start : start + size]
        yield source.score(part), torch.from_numpy(np.ascontiguousarray(targets[part]))


class FrozenBackboneModel(nn.Module):
    """Backbone without gradient, then the head: for a frozen stage that runs the backbone every epoch."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Normalised (B, 3, H, W) -> output of the head."""
        with torch.no_grad():
            features = self.model.features(images)
        return self.model.head(features.float())
