"""Input of an exported graph: images, or windows (parts of volumes)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from medtune.serving.volumes.document import INPUT as WINDOWS

IMAGES = "images"


@dataclass(frozen=True)
class GraphInput:
    """Name, type and shape of the only input of a graph.

    Attributes:
        name: name of the input.
        dtype: type of its values.
        shape: shape without the batch axis.
    """

    name: str
    dtype: Literal["uint8", "float32"]
    shape: tuple[int, ...]

    def example(self, count: int) -> torch.Tensor:
        """Return zeros, (count, *shape)."""
        return torch.zeros(count, *self.shape, dtype=getattr(torch, self.dtype))


def images(side: int) -> GraphInput:
    """Return the input for square RGB images, uint8 (N, side, side, 3)."""
    return GraphInput(IMAGES, "uint8", (side, side, 3))


def windows(channels: int, patch: Sequence[int]) -> GraphInput:
    """Return the input for normalized windows, float32 (N, channels, *patch). `patch` is the size in voxels."""
    return GraphInput(WINDOWS, "float32", (channels, *patch))
