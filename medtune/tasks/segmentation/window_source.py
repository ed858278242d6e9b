"""Source of batches of windows with stored features, and the network that reads these features."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from medtune.serving.volumes.windows import Patch
from medtune.tasks.base import SpatialTransform
from medtune.tasks.segmentation.patch_source import patch_masks
from medtune.tasks.segmentation.window_features import Windows
from medtune.tasks.segmentation.windowed import VolumeLogits, cut_to_patch
from medtune.training.augmentation import PerSampleRng
from medtune.training.feature_store import FeatureStore
from medtune.training.replicas import ALL_ROWS
from medtune.training.transfer import to_device


@dataclass(frozen=True)
class StoredWindows:
    """Windows or a whole volume, and the features of the windows.

    Attributes:
        volumes: windows (B, C, *patch), or one volume (1, C, X, Y, Z), float32.
        features: function from a slice of b window numbers to their flattened features (b, D), float32.
        whole: True for a whole volume.
    """

    volumes: Tensor
    features: Callable[[slice], Tensor]
    whole: bool


class StoredWindowSource:
    """Source of random windows for training, one per volume, and of whole volumes for validation."""

    def __init__(self, windows: Windows, train: FeatureStore, grid: FeatureStore) -> None:
        """Combine the windows with their features from `store_levels`."""
        self.windows, self.stored, self.grid = windows, train, grid

    def train(
        self, indices: npt.NDArray[Any], generator: torch.Generator, selected: slice = ALL_ROWS
    ) -> tuple[Any, SpatialTransform]:
        """Load one random window of each volume, and its mask.

        Args:
            indices: rows of the volumes of the complete batch.
            generator: source of random numbers.
            selected: part of the batch that this process loads.

        Returns:
            `StoredWindows`, and the transform that returns their masks.
        """
        views = PerSampleRng(generator, len(indices), selected).integers(self.stored.views).numpy()
        rows = indices[selected]
        windows = [self.windows.random(int(row), int(view)) for row, view in zip(rows, views, strict=True)]
        features = self._on_device(self.stored.fetch(rows, views))
        images = torch.stack([self.windows.image(window) for window in windows])
        masks = torch.stack([self.windows.mask(window) for window in windows])
        return StoredWindows(images, lambda numbers: features[numbers], False), patch_masks(masks, len(indices))

    def score(self, indices: npt.NDArray[Any]) -> Any:
        """Load one whole volume."""
        (row,) = indices.tolist()
        volume = torch.from_numpy(np.array(self.windows.volumes.image(row)))
        first = int(self.windows.firsts[row])

        def features(numbers: slice) -> Tensor:
            return self._on_device(self.grid.fetch(np.arange(first + numbers.start, first + numbers.stop)))

        return StoredWindows(to_device(volume, self.windows.device).float()[None], features, True)

    def _on_device(self, features: Tensor) -> Tensor:
        return to_device(features, self.windows.device).float()


class StoredDecoder(nn.Module):
    """Decoder of a slice network that reads stored features instead of running the backbone."""

    def __init__(self, model: Any, shapes: list[tuple[int, ...]], patch: Patch, overlap: float) -> None:
        """Wrap a network.

        Args:
            model: network with `decode` and `head`.
            shapes: shapes (c, h, w, n) of the levels, from `level_shapes`.
            patch: voxels of a window per axis.
            overlap: overlap of neighboring windows, fraction of the window.
        """
        super().__init__()
        self.model, self.shapes, self.patch, self.overlap = model, shapes, patch, overlap

    def forward(self, inputs: StoredWindows) -> Tensor | VolumeLogits:
        """Map windows, or a volume, to logits; see `WindowedNetwork`."""
        volumes = inputs.volumes
        if not inputs.whole:
            return self._decode(volumes, inputs.features(slice(0, len(volumes))))
        if torch.is_grad_enabled():  # a search for parameters without gradient, which needs no real features
            size = sum(map(prod, self.shapes))
            return self._decode(cut_to_patch(volumes, self.patch), volumes.new_zeros(len(volumes), size))
        return VolumeLogits(
            volumes[0],
            lambda windows, numbers: self._decode(windows, inputs.features(numbers)),
            self.patch,
            self.overlap,
        )

    def _decode(self, windows: Tensor, features: Tensor) -> Tensor:
        """Compute the logits (b, K, *patch) of windows from their flattened features (b, D)."""
        parts = torch.split(features, [prod(shape) for shape in self.shapes], dim=1)
        levels = [part.reshape(len(part), *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        logits: Tensor = self.model.decode(windows, levels)
        return logits
