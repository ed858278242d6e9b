"""Common type of the networks of volumes, and the features of a window."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from medtune.models.network import Network

# Added to variances, because the square root has no derivative at 0 and rounding could make a variance negative.
TINY = 1e-12


class WindowNetwork(Network):
    """Network that maps windows of volumes to logits, and describes each window by features."""

    @abstractmethod
    def forward_with_features(self, volumes: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and features in one pass.

        Args:
            volumes: windows (B, C, X, Y, Z), normalized.

        Returns:
            Logits (B, K, X, Y, Z) and `window_features` (B, F).
        """


def window_features(maps: Sequence[Tensor]) -> Tensor:
    """Describe feature maps by the mean and the standard deviation of each channel over the window.

    Args:
        maps: feature maps (B, c, x, y, z) of several layers.

    Returns:
        (B, F) with twice as many features as all maps have channels.
    """
    parts = []
    for values in maps:
        mean = values.mean(dim=(2, 3, 4), keepdim=True)
        spread = ((values - mean) ** 2).mean(dim=(2, 3, 4))
        parts += [mean.flatten(1), (spread + TINY).sqrt()]
    return torch.cat(parts, dim=1)
