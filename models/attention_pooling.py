"""Gated attention pooling of Ilse, Tomczak and Welling 2018, rewritten so that a network computes tile by tile.

The paper pools the features h_k of the tiles with attention a (equation 9), z = sum_k a_k h_k, and classifies z by
W z + b. Since sum_k a_k = 1, this equals sum_k a_k (W h_k + b). Therefore the network has two outputs per tile: the
evidence W h_k + b, and the attention score before the softmax. The logits of a slide depend only on these outputs.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Bags(NamedTuple):
    """Tiles of several slides, concatenated.

    Attributes:
        features: (tiles, 1, C).
        sizes: number of tiles per slide, at least 1.
    """

    features: Tensor
    sizes: list[int]


class GatedAttentionHead(nn.Module):
    """Evidence and attention score per tile.

    Attributes:
        value, gate: V and U of equation 9, (L, C) each, with biases.
        score: w, (1, L). It has no bias, because the softmax would cancel it.
        classifier: W and b.
    """

    def __init__(self, channels: int, classes: int, hidden: int = 128, norm: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(channels) if norm else nn.Identity(), nn.Dropout(dropout))
        self.value = nn.Linear(channels, hidden)
        self.gate = nn.Linear(channels, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map tile features (B, 1, C) to (B, classes + 1): W h + b, then w (tanh(V h) * sigmoid(U h))."""
        tiles = self.embed(features.flatten(1))
        score = self.score(torch.tanh(self.value(tiles)) * torch.sigmoid(self.gate(tiles)))
        return torch.cat([self.classifier(tiles), score], dim=1)


def pool(outputs: Tensor) -> Tensor:
    """Return the logits (classes,) of a slide from the outputs (tiles, classes + 1) of its tiles."""
    outputs = outputs.float()
    return torch.softmax(outputs[:, -1], dim=0) @ outputs[:, :-1]


class BagModel(nn.Module):
    """Network on slides, which applies a head to their tiles. Slides are not padded to a common number of tiles."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, bags: Bags) -> Tensor:
        """Map the tiles of B slides to logits (B, classes)."""
        outputs = self.head(bags.features)
        with torch.autocast(outputs.device.type, enabled=False):
            return torch.stack([pool(tiles) for tiles in outputs.split(bags.sizes)])
