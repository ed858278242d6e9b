"""Gated attention pooling of Ilse, Tomczak and Welling 2018, in a form that processes each tile separately.

A slide is a large microscope image, divided into tiles. The paper pools the features h_k of the tiles to
z = sum_k a_k h_k with attention weights a_k (equation 9). Its logits are W z + b. The weights have the sum 1, so the
logits equal sum_k a_k (W h_k + b). The network here has two outputs per tile: the evidence W h_k + b, and a score. The
softmax of the scores gives the weights a_k. These outputs are sufficient to compute the logits of the slide.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Bags(NamedTuple):
    """Features of the tiles of several slides (bags), concatenated.

    Attributes:
        features: (tiles, 1, C).
        sizes: number of tiles per slide, at least 1.
    """

    features: Tensor
    sizes: list[int]


class GatedAttentionHead(nn.Module):
    """Evidence and attention score per tile.

    Attributes:
        value, gate: V and U of equation 9, (L, C) each with L = `hidden`, with biases.
        score: w, (1, L). A bias would not change the softmax.
        classifier: W, (classes, C), and b.
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
    """Network that applies a head to all tiles and pools the outputs of each slide. Slides differ in their size."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, bags: Bags) -> Tensor:
        """Map the tiles of B slides to logits (B, classes)."""
        outputs = self.head(bags.features)
        with torch.autocast(outputs.device.type, enabled=False):
            return torch.stack([pool(tiles) for tiles in outputs.split(bags.sizes)])
