"""Tokens back on their grid, for a convolution among them."""

import math

import torch
from torch import Tensor, nn


class GridBottleneck(nn.Module):
    """Down to `hidden` channels, 3x3 convolution over the square patch grid, up; zero at the start.

    Prefix tokens pass the same convolution each on a grid of its own, as in Convpass.
    """

    def __init__(self, channels: int, hidden: int, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.down = nn.Linear(channels, hidden)
        self.convolve = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.up = nn.Linear(hidden, channels)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        nn.init.zeros_(self.convolve.weight)
        nn.init.zeros_(self.convolve.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.convolve.weight[:, :, 1, 1] = torch.eye(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, P + N, C) -> (B, P + N, C)."""
        hidden = nn.functional.gelu(self.down(x))
        batch, tokens, width = hidden.shape
        side = math.isqrt(tokens - self.prefix)
        grid = hidden[:, self.prefix :].transpose(1, 2).reshape(batch, width, side, side)
        patches = self.convolve(grid).flatten(2).transpose(1, 2)
        alone = hidden[:, : self.prefix].reshape(-1, width, 1, 1)
        special = self.convolve(alone).reshape(batch, self.prefix, width)
        return self.up(nn.functional.gelu(torch.cat([special, patches], dim=1)))
