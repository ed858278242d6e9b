"""What the training loop is fed: stored features, or images augmented on the device."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from medtune.config.training import AugmentParams
from medtune.data.manifest import PreparedDataset
from medtune.models.classifier import Classifier
from medtune.tasks.base import Move
from medtune.training.augmentation import Draws, Geometry, vary
from medtune.training.feature_store import FeatureStore
from medtune.training.replicas import EVERY
from medtune.training.schedule import epoch_order
from medtune.training.transfer import onto


class Feed(Protocol):
    """Rows of the prepared set as a network's input."""

    def train(self, rows: np.ndarray, generator: torch.Generator, take: slice) -> tuple[Tensor, Move]:
        """Input for a training step: `take` of `rows`, randomly varied, and the geometry of its images.

        Args:
            rows: of a whole batch.
            generator: every draw comes from it, for all of `rows`, whichever are taken.
            take: rows of the batch that this process computes.
        """

    def score(self, rows: np.ndarray) -> Tensor:
        """Input as it is when the model is used."""


class StoredFeed:
    """Features from the store, each image in a randomly drawn view."""

    def __init__(self, store: FeatureStore, device: torch.device) -> None:
        self.store, self.device = store, device

    def train(self, rows: np.ndarray, generator: torch.Generator, take: slice = EVERY) -> tuple[Tensor, Move]:
        """float32 (B, N, C), one of the stored views each."""
        views = Draws(generator, len(rows), take).integers(self.store.views)
        inputs = onto(self.store.gather(rows[take], views.numpy()), self.device).float()
        return inputs, Geometry(views)

    def score(self, rows: np.ndarray) -> Tensor:
        """float32 (B, N, C), view 0."""
        return onto(self.store.gather(rows), self.device).float()


class ImageFeed:
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

    def _rows(self, rows: np.ndarray) -> Tensor:
        return onto(torch.from_numpy(self.images[rows]), self.device)

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def train(self, rows: np.ndarray, generator: torch.Generator, take: slice = EVERY) -> tuple[Tensor, Move]:
        """(B, 3, H, W), augmented."""
        images, geometry = vary(self._rows(rows[take]), self.params, generator, len(rows), take)
        return self._laid_out(self.model.normalize(images)), geometry

    def score(self, rows: np.ndarray) -> Tensor:
        """(B, 3, H, W), as they are."""
        return self._laid_out(self.model.preprocess(self._rows(rows)))


def labelled(
    feed: Feed, rows: np.ndarray, targets: np.ndarray, seed: int, size: int = 64
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each of `rows` once, as it is when the model is used, with its target (B, ...), in an order drawn from `seed`.

    Args:
        feed: inputs of rows.
        rows: of the prepared set.
        targets: (n, ...) of the whole set.
        seed: of the order; nothing is drawn before the first batch is asked for.
        size: B.
    """
    order = epoch_order(rows, torch.Generator().manual_seed(seed))
    for start in range(0, len(order), size):
        part = order[start : start + size]
        yield feed.score(part), torch.from_numpy(np.ascontiguousarray(targets[part]))


class FrozenOnline(nn.Module):
    """Backbone without gradient, then the head: for a frozen stage that runs the backbone every epoch."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Normalised (B, 3, H, W) -> output of the head."""
        with torch.no_grad():
            features = self.model.features(images)
        return self.model.head(features.float())
