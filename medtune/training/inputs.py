"""Batch sources of the training loop: stored features, or images augmented on the device."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
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
    """Source of network inputs for images of the prepared data set."""

    def train(
        self, indices: npt.NDArray[Any], generator: torch.Generator, selected: slice
    ) -> tuple[Tensor, SpatialTransform]:
        """Load randomly augmented inputs for a training step.

        Args:
            indices: image indices of a complete batch.
            generator: generator of all random numbers, which are drawn for the complete batch.
            selected: rows of the batch that this process computes.

        Returns:
            Inputs of the selected images, and their spatial transform.
        """

    def score(self, indices: npt.NDArray[Any]) -> Tensor:
        """Load the inputs of the images `indices` without augmentation."""


class FeatureSource:
    """Batch source of stored features. In training, each image has a randomly drawn view (flip or quarter turn)."""

    def __init__(self, store: FeatureStore, device: torch.device) -> None:
        self.store, self.device = store, device

    def train(
        self, indices: npt.NDArray[Any], generator: torch.Generator, selected: slice = ALL_ROWS
    ) -> tuple[Tensor, SpatialTransform]:
        """Load features (B, N, C), float32, of a randomly drawn view per image."""
        views = PerSampleRng(generator, len(indices), selected).integers(self.store.views)
        inputs = to_device(self.store.fetch(indices[selected], views.numpy()), self.device).float()
        return inputs, Geometry(views)

    def score(self, indices: npt.NDArray[Any]) -> Tensor:
        """Load features (B, N, C), float32, of view 0, the unchanged image."""
        return to_device(self.store.fetch(indices), self.device).float()


class PackedImageSource:
    """Batch source of normalized images, which are made from the prepared uint8 images."""

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

    def _load(self, indices: npt.NDArray[Any]) -> Tensor:
        return to_device(torch.from_numpy(self.images[indices]), self.device)

    def _with_memory_format(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def train(
        self, indices: npt.NDArray[Any], generator: torch.Generator, selected: slice = ALL_ROWS
    ) -> tuple[Tensor, SpatialTransform]:
        """Load augmented images (B, 3, H, W)."""
        images, geometry = vary(self._load(indices[selected]), self.params, generator, len(indices), selected)
        return self._with_memory_format(self.model.normalize(images)), geometry

    def score(self, indices: npt.NDArray[Any]) -> Tensor:
        """Load images (B, 3, H, W) without augmentation."""
        return self._with_memory_format(self.model.preprocess(self._load(indices)))


def iterate_labeled(
    source: BatchSource, indices: npt.NDArray[Any], targets: npt.NDArray[Any], seed: int, size: int = 64
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate once over images without augmentation, in random order.

    Args:
        source: batch source.
        indices: image indices.
        targets: (n, ...) targets of the complete data set.
        seed: seed of the order.
        size: batch size B.

    Yields:
        Inputs and targets (B, ...) of a batch.
    """
    order = epoch_order(indices, torch.Generator().manual_seed(seed))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        yield source.score(batch), torch.from_numpy(np.ascontiguousarray(targets[batch]))


class FrozenBackboneModel(nn.Module):
    """Backbone without gradients and head with gradients, for stage 1 without stored features."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images (B, 3, H, W) to the output of the head."""
        with torch.no_grad():
            features = self.model.features(images)
        output: Tensor = self.model.head(features.float())
        return output
