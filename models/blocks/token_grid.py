"""Tokens back on their grid, for a convolution among them."""

import math

import torch
from torch import Tensor, nn


class TokenGridConv(nn.Module):
    """Down to `hidden` channels, 3x3 convolution over the square patch grid, up; zero at the start.

    Prefix tokens pass the same convolution each on a grid of its own, as in Convpass.
    """

    def __init__(self, channels: int, hidden: int, prefix_tokens: int) -> None:
        super().__init__()
        self.prefix_tokens = prefix_tokens
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
        side = math.isqrt(tokens - self.prefix_tokens)
        grid = hidden[:, self.prefix_tokens :].transpose(1, 2).reshape(batch, width, side, side)
        patches = self.convolve(grid).flatten(2).transpose(1, 2)
        prefix_grids = hidden[:, : self.prefix_tokens].reshape(-1, width, 1, 1)
        prefix = self.convolve(prefix_grids).reshape(batch, self.prefix_tokens, width)
        return self.up(nn.functional.gelu(torch.cat([prefix, patches], dim=1)))
