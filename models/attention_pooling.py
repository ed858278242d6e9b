"""Gated attention pooling of Ilse, Tomczak and Welling 2018, in a form that is computed tile by tile.

The paper pools features and classifies the result: z = sum_k a_k h_k with attention a (equation 9), then W z + b. Since
sum_k a_k = 1, this equals sum_k a_k (W h_k + b). A tile's outputs are therefore its evidence W h_k + b and its
attention score before the softmax, and a slide needs no more than these.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Bags(NamedTuple):
    """Tiles of several slides, one slide after the other.

    Attributes:
        features: (tiles, 1, C).
        sizes: tiles per slide, at least 1.
    """

    features: Tensor
    sizes: list[int]


class GatedAttentionHead(nn.Module):
    """Evidence and attention score of single tiles.

    Attributes:
        value, gate: V and U of equation 9, (L, C) each, with biases.
        score: w, (1, L). It has no bias, which the softmax would cancel.
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
        """(B, 1, C) -> (B, classes + 1): W h + b, then w (tanh(V h) * sigmoid(U h))."""
        tiles = self.embed(features.flatten(1))
        score = self.score(torch.tanh(self.value(tiles)) * torch.sigmoid(self.gate(tiles)))
        return torch.cat([self.classifier(tiles), score], dim=1)


def pool(outputs: Tensor) -> Tensor:
    """(tiles, classes + 1) outputs of one slide's tiles -> (classes,) logits of the slide."""
    outputs = outputs.float()
    return torch.softmax(outputs[:, -1], dim=0) @ outputs[:, :-1]


class BagModel(nn.Module):
    """A head on tiles as a network on slides; slides need no padding to a common size."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, bags: Bags) -> Tensor:
        """Tiles of B slides -> (B, classes) logits."""
        outputs = self.head(bags.features)
        with torch.autocast(outputs.device.type, enabled=False):
            return torch.stack([pool(tiles) for tiles in outputs.split(bags.sizes)])
